"""DukeMTMC-reID, MSMT17 and CUHK03 in the forms people have them."""

import errno
from unittest.mock import Mock

import numpy as np
import pytest
from helpers.commands import nformer
from helpers.layouts import (
    CUHK03_NAMES,
    write_cuhk03_archive,
    write_cuhk03_protocol,
    write_dukemtmcreid,
    write_images,
    write_msmt17,
)
from PIL import Image

from pipelines.data.catalogue import ENTRIES, listing, open_dataset, title_of
from pipelines.data.images import read_image
from pipelines.errors import BadInput


def labels(data, split):
    return [(sample.pid, sample.camid) for sample in data.split(split)]


def test_duke_is_read_with_a_notice(tmp_path):
    data = open_dataset("DukeMTMCreID", write_dukemtmcreid(tmp_path / "DukeMTMC-reID").parent)
    assert labels(data, "train") == [(1, 2), (1, 5), (5, 2)]
    assert labels(data, "gallery") == [(2, 1), (33, 8)]
    assert "withdrawn by its authors in June 2019" in data.notices[0]


@pytest.mark.parametrize(
    "home, folders",
    [
        ("MSMT17_V1", {"train": "train", "test": "test"}),
        ("msmt17/MSMT17_V2", {"train": "mask_train_v2", "test": "mask_test_v2"}),
    ],
)
def test_both_versions_of_msmt17_are_read_from_their_lists(tmp_path, home, folders):
    write_msmt17(tmp_path / home, **folders)
    data = open_dataset("msmt17", tmp_path)
    assert labels(data, "train") == [(0, 1), (1, 14)]
    assert labels(data, "query") == [(0, 2)]
    assert labels(data, "gallery") == [(0, 3), (2, 3)]
    assert data.split("train")[0].name.startswith(f"{folders['train']}/0000/0000_000_01")
    assert all((data.root / sample.name).exists() for sample in data.split("gallery"))


def test_the_lists_of_msmt17_may_be_spelled_with_v2(tmp_path):
    home = write_msmt17(tmp_path / "MSMT17_V2", train="mask_train_v2", test="mask_test_v2")
    for path in home.glob("list_*.txt"):
        path.rename(path.with_name(f"{path.stem}_v2.txt"))
    assert len(open_dataset("msmt17", home).split("gallery")) == 2


def test_combine_all_adds_the_validation_list(tmp_path):
    data = open_dataset("msmt17", write_msmt17(tmp_path / "MSMT17"), options={"combine_all": True})
    assert labels(data, "train") == [(0, 1), (1, 14), (1, 5)]


@pytest.mark.parametrize(
    "line", ["0000/no_camera.jpg 0", "../0000_000_01_x_0_0.jpg 0", "/a/0000_000_01_x.jpg 1", "word"]
)
def test_lines_of_msmt17_that_do_not_parse_or_lead_outside_are_refused(tmp_path, line):
    home = write_msmt17(tmp_path / "MSMT17")
    with (home / "list_query.txt").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(BadInput, match=r"list_query\.txt: 1 of 2 lines do not parse: line 2: "):
        open_dataset("msmt17", home)


def test_a_list_of_msmt17_that_is_missing_is_named(tmp_path):
    home = write_msmt17(tmp_path / "MSMT17")
    (home / "list_gallery.txt").unlink()
    with pytest.raises(BadInput, match=r"has no list_gallery\.txt"):
        open_dataset("msmt17", home)


@pytest.mark.parametrize("name, boxes", [("labelled", "labeled"), ("detected", "detected")])
def test_cuhk03_is_taken_out_of_its_archive_once(tmp_path, recorder, name, boxes):
    home = write_cuhk03_protocol(tmp_path / "cuhk03", boxes)
    (home / "cuhk03_release").mkdir()
    archive = write_cuhk03_archive(home / "cuhk03_release" / "cuhk-03.mat", boxes)
    data = open_dataset(f"cuhk03-{name}", tmp_path, progress=recorder)
    assert recorder.counted == {"unpack cuhk-03.mat": 4}
    assert sorted(path.name for path in (home / f"images_{boxes}").iterdir()) == CUHK03_NAMES
    assert labels(data, "train") == [(1, 1), (1, 2)]
    assert labels(data, "query") == [(2, 1)]
    assert labels(data, "gallery") == [(2, 2)]
    pixels = np.asarray(read_image(data.root / data.split("query")[0].name))
    assert pixels.shape == (8, 4, 3) and pixels[:, 0, 1].tolist() == [200] * 8
    archive.unlink()
    assert open_dataset(f"cuhk03-{name}", home).digest() == data.digest()


def test_a_truncated_archive_leaves_no_folder(tmp_path):
    home = write_cuhk03_protocol(tmp_path / "cuhk03", "labeled")
    archive = write_cuhk03_archive(home / "cuhk-03.mat", "labeled")
    archive.write_bytes(archive.read_bytes()[:3000])
    with pytest.raises(BadInput, match=r"cuhk-03\.mat is no whole \.h5 file"):
        open_dataset("cuhk03-labelled", home)
    assert sorted(path.suffix for path in home.iterdir()) == [".mat", ".mat"]


def test_a_protocol_file_of_another_kind_is_refused(tmp_path):
    home = write_cuhk03_protocol(tmp_path / "cuhk03", "labeled")
    (home / "cuhk03_new_protocol_config_labeled.mat").write_bytes(b"text")
    with pytest.raises(BadInput, match=r"_labeled\.mat is no whole \.mat file"):
        open_dataset("cuhk03-labelled", home)


def test_cuhk03_in_the_protocols_own_folders(tmp_path):
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        write_images(tmp_path / "cuhk03-np" / "detected" / folder, ["0003_c1_21.png"])
    data = open_dataset("cuhk03-detected", tmp_path)
    assert labels(data, "train") == [(3, 1)]
    with pytest.raises(BadInput, match=r"\(detected boxes\); use cuhk03-detected"):
        open_dataset("cuhk03-labelled", tmp_path)


def test_every_known_count_has_a_source():
    without = {entry.name for entry in ENTRIES if not entry.counts}
    assert without == {"wildlife", "folder", "csv", "synthetic"}
    assert all(entry.source for entry in ENTRIES if entry.counts)


def test_a_number_that_is_not_published_is_none():
    rows = {row["name"]: row for row in listing()}
    assert rows["sysu-mm01"]["counts"]["query"] == [3803, 96, 2]
    assert rows["sysu-mm01"]["counts"]["gallery"] == [None, 96, 4]
    assert rows["mars"]["counts"]["train"] == [8298, 625, None]
    done = nformer("datasets")
    assert "gallery –, 96" in done.out and " -1" not in done.out


def test_a_test_set_of_another_size_keeps_its_title():
    images = {"train": 8298, "query": 1980, "gallery": 9330}
    facts = {"dataset": "mars", "root": "/data/MARS", "images": images}
    assert title_of(facts) == "MARS (MARS's layout)"
    assert title_of({**facts, "options": {"variant": "without-queries"}}) == "MARS"
    assert title_of({"dataset": "wildlife", "root": "/data/lynx"}) == "Animals, lynx"
    own = {"dataset": "csv", "root": "/data/people", "options": {"table": "/lists/may.csv"}}
    assert title_of(own) == "Your images, may.csv"


def test_a_protocol_file_that_crashes_its_reader_is_refused(tmp_path, shared):
    home = write_cuhk03_protocol(tmp_path / "cuhk03", "labeled")
    config = home / "cuhk03_new_protocol_config_labeled.mat"
    config.write_bytes(shared("cases/reliability/segfault.mat").read_bytes())
    with pytest.raises(BadInput, match="is damaged: its reader crashes on it"):
        open_dataset("cuhk03-labelled", home)


def test_an_archive_on_a_disk_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    home = write_cuhk03_protocol(tmp_path / "cuhk03", "labeled")
    write_cuhk03_archive(home / "cuhk-03.mat", "labeled")
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(Image.Image, "save", Mock(side_effect=full))
    with pytest.raises(BadInput, match=r"no space left on the disk while writing .*images_labeled"):
        open_dataset("cuhk03-labelled", home)
    assert {path.name for path in home.iterdir()} == {
        "cuhk-03.mat",
        "cuhk03_new_protocol_config_labeled.mat",
    }


@pytest.mark.parametrize("folder", ["labeled", "detected"])
def test_cuhk03_is_read_from_the_folder_of_its_boxes(tmp_path, folder):
    for boxes in ("labeled", "detected"):
        home = tmp_path / "cuhk03-np" / boxes
        for name, people in (
            ("bounding_box_train", "12"),
            ("query", "3"),
            ("bounding_box_test", "3"),
        ):
            write_images(home / name, [f"000{p}_c{c}_21.png" for p in people for c in (1, 2)])
    name = {"labeled": "cuhk03-labelled", "detected": "cuhk03-detected"}[folder]
    root = tmp_path / "cuhk03-np" / folder
    data = open_dataset(name, root)
    assert data.name == name
    assert labels(data, "train") == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert labels(open_dataset(name, root.parent), "train") == labels(data, "train")
    other = "cuhk03-detected" if folder == "labeled" else "cuhk03-labelled"
    with pytest.raises(BadInput, match=f"is not laid out as {other}"):
        open_dataset(other, root)
