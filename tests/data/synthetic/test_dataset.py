"""The drawn data set: Market-1501's layout, the same bytes again, nobody in both halves."""

import errno
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.data.catalogue import open_dataset
from pipelines.data.synthetic.dataset import GALLERY, QUERY, TRAIN, remove_drawn, write_synthetic
from pipelines.errors import BadInput

NAME = re.compile(r"(-1|\d{4})_c([1-4])s[1-6]_\d{6}_0[0-4]\.jpg")
SMALL = {"train_identities": 3, "test_identities": 4, "cameras": 4, "images": 10}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("drawn") / "set", seed=5, **SMALL)


def names(folder: Path, split: str) -> list[str]:
    return sorted(path.name for path in (folder / split).iterdir())


def people(folder: Path, *splits: str) -> set[int]:
    found = {int(name.split("_")[0]) for split in splits for name in names(folder, split)}
    return found - {-1, 0}


def test_every_name_is_one_of_market1501s(drawn):
    for split in (TRAIN, QUERY, GALLERY):
        for name in names(drawn, split):
            assert NAME.fullmatch(name), name


def test_no_identity_is_in_both_halves(drawn):
    train, test = people(drawn, TRAIN), people(drawn, QUERY, GALLERY)
    assert (len(train), len(test)) == (3, 4)
    assert train | test == set(range(1, 8))


def test_identities_have_between_half_and_one_and_a_half_of_the_images_asked_for(drawn):
    everything = [name for split in (TRAIN, QUERY, GALLERY) for name in names(drawn, split)]
    counts = [sum(name.startswith(f"{pid:04d}_") for name in everything) for pid in range(1, 8)]
    assert 5 <= min(counts) < max(counts) <= 15


def test_one_query_for_each_test_identity_and_camera_and_a_match_elsewhere(drawn):
    asked = [tuple(name.split("s")[0].split("_")) for name in names(drawn, QUERY)]
    assert len(asked) == len(set(asked))
    seen = {tuple(name.split("s")[0].split("_")) for name in names(drawn, GALLERY)}
    for pid, camera in asked:
        assert any(other == pid and where != camera for other, where in seen)


def test_the_gallery_has_junk_and_distractors(drawn):
    found = names(drawn, GALLERY)
    assert sum(name.startswith("-1_") for name in found) == 40 // 20
    assert sum(name.startswith("0000_") for name in found) == 40 // 10


def test_pictures_have_the_size_asked_for(tmp_path):
    folder = write_synthetic(tmp_path / "set", height=96, width=40, **SMALL)
    for path in folder.rglob("*.jpg"):
        with Image.open(path) as image:
            assert image.size == (40, 96) and image.mode == "RGB"


def test_the_same_seed_draws_the_same_bytes_and_another_seed_others(drawn, tmp_path):
    same = write_synthetic(tmp_path / "same", seed=5, **SMALL)
    other = write_synthetic(tmp_path / "other", seed=6, **SMALL)
    files = sorted(path.relative_to(drawn) for path in drawn.rglob("*.*"))
    assert files == sorted(path.relative_to(same) for path in same.rglob("*.*"))
    assert all((drawn / file).read_bytes() == (same / file).read_bytes() for file in files)
    assert {path.name for path in drawn.rglob("*.jpg")} != {
        path.name for path in other.rglob("*.jpg")
    }


def test_a_person_looks_more_like_themselves_than_like_others_within_a_camera(drawn):
    """Same person, same camera: clothes agree. Checked on the mean colour of the trunk."""
    trunks: dict[tuple[str, str], list[np.ndarray]] = {}
    for split in (TRAIN, GALLERY):
        for name in names(drawn, split):
            pid, camera = name.split("s")[0].split("_")
            if int(pid) > 0:
                with Image.open(drawn / split / name) as image:
                    trunk = np.asarray(image, dtype=float)[30:60, 22:42]
                trunks.setdefault((pid, camera), []).append(trunk.mean(axis=(0, 1)))
    own = [np.linalg.norm(a - b) for seen in trunks.values() for a in seen for b in seen]
    others = [
        np.linalg.norm(a - b)
        for (pid, camera), seen in trunks.items()
        for (other, where), shown in trunks.items()
        if pid != other and camera == where
        for a in seen
        for b in shown
    ]
    assert np.mean(own) < 0.5 * np.mean(others)


def test_cameras_differ_in_colour(drawn):
    means: dict[str, list[np.ndarray]] = {}
    for name in names(drawn, TRAIN) + names(drawn, GALLERY):
        camera = name.split("_")[1][:2]
        split = TRAIN if (drawn / TRAIN / name).exists() else GALLERY
        with Image.open(drawn / split / name) as image:
            means.setdefault(camera, []).append(np.asarray(image, dtype=float).mean(axis=(0, 1)))
    centres = [np.mean(values, axis=0) for _, values in sorted(means.items())]
    assert len(centres) == 4
    assert min(np.linalg.norm(a - b) for a in centres for b in centres if a is not b) > 2


def test_it_is_read_as_market1501_and_under_its_own_name(drawn):
    for name in ("market1501", "synthetic"):
        dataset = open_dataset(name, drawn)
        assert dataset.name == name
        assert dataset.junk == 2
        assert dataset.counts("train").images == len(names(drawn, TRAIN))
        assert dataset.counts("train").identities == 3
        assert dataset.counts("gallery").identities == 4


def test_a_second_call_leaves_the_files_alone(drawn, recorder):
    before = {path: path.stat().st_mtime_ns for path in drawn.rglob("*.jpg")}
    write_synthetic(drawn, seed=5, progress=recorder, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in drawn.rglob("*.jpg")} == before
    assert recorder.messages == [f"{drawn} is up to date"]


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(BadInput, match="holds something else already; name a new or an empty"):
        write_synthetic(tmp_path, **SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_other_settings_are_refused_where_a_set_lies(drawn):
    with pytest.raises(BadInput, match="holds something else already"):
        write_synthetic(drawn, seed=99, **SMALL)


def test_an_interrupted_drawing_leaves_no_set_and_the_next_one_is_whole(tmp_path, drawn):
    class Stop(Exception):
        pass

    class Killer:
        def message(self, text):
            pass

        def task(self, title, total, *, unit=""):
            return self

        def __enter__(self):
            self.left = 7
            return self

        def __exit__(self, *error):
            return None

        def advance(self, amount=1, **figures):
            self.left -= 1
            if not self.left:
                raise Stop

    with pytest.raises(Stop):
        write_synthetic(tmp_path / "set", seed=5, progress=Killer(), **SMALL)
    with pytest.raises(BadInput):
        open_dataset("synthetic", tmp_path / "set")
    folder = write_synthetic(tmp_path / "set", seed=5, **SMALL)
    assert names(folder, ".") == [GALLERY, TRAIN, QUERY, "synthetic.json"]
    assert names(folder, TRAIN) == names(drawn, TRAIN)


def test_the_current_folder_will_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_synthetic(".", **SMALL)
    assert names(tmp_path, ".") == [GALLERY, TRAIN, QUERY, "synthetic.json"]


def test_a_full_disk_is_told_in_a_sentence(tmp_path, monkeypatch):
    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(BadInput, match="no space left on the disk while writing"):
        write_synthetic(tmp_path / "set", **SMALL)


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ({"cameras": 1}, "cameras is 1; a data set needs at least 2"),
        ({"train_identities": 9000, "test_identities": 1000}, "room for 9999 identities"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, argument, text):
    with pytest.raises(BadInput, match=text):
        write_synthetic(tmp_path / "set", **(SMALL | argument))


def test_remove_drawn_removes_only_what_was_drawn(tmp_path):
    folder = write_synthetic(tmp_path / "set", **SMALL)
    (folder / "notes.txt").write_text("mine")
    remove_drawn(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    other = tmp_path / "market"
    (other / QUERY).mkdir(parents=True)
    remove_drawn(other)
    assert (other / QUERY).is_dir()


def test_the_record_tells_the_settings(drawn):
    record = json.loads((drawn / "synthetic.json").read_text())
    assert record["seed"] == 5 and record["test_identities"] == 4 and record["height"] == 128


def test_a_runs_own_unfinished_work_is_left_alone(tmp_path):
    (tmp_path / ".unfinished" / "backbone.pt").mkdir(parents=True)
    with pytest.raises(BadInput, match="holds something else already"):
        write_synthetic(tmp_path, **SMALL)
    assert (tmp_path / ".unfinished" / "backbone.pt").is_dir()
