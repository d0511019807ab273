"""Tracklets: who is asked for, which frames are read, and one row for each."""

import json

import numpy as np
import pytest
import torch
from helpers.commands import nformer
from helpers.copies import write_ilids_vid, write_mars, write_prid2011
from torchvision.models import shufflenet_v2_x0_5

from pipelines import BadInput, Run, evaluate, extract, load_embeddings, train_backbone
from pipelines.config import BackboneConfig, EvaluateConfig, ExtractConfig
from pipelines.data.catalogue import open_dataset
from pipelines.data.samples import Dataset
from pipelines.training.log import read_log

SIZE = {"height": 32, "width": 32, "workers": 1, "amp": "off"}


def test_the_official_gallery_of_mars_holds_the_queries(tmp_path):
    home = write_mars(tmp_path / "MARS")
    data = open_dataset("mars", home)
    query, gallery = set(data.split("query")), set(data.split("gallery"))
    assert query < gallery
    assert {(one.pid, one.camid) for one in query} == {(2, 1), (4, 5)}
    assert {(one.pid, one.camid) for one in gallery - query} == {(0, 3), (2, 2), (4, 6)}
    assert (data.junk, data.distractor) == (1, 0)
    first = data.split("query")[0].name
    assert first == "bbox_test/0002/0002C1T0001F001.jpg"
    assert data.tracks[first] == tuple(f"{first[:-5]}{frame}.jpg" for frame in (1, 2, 3))
    assert len(data.images("query")) == 5
    assert {one.camid for one in data.images("query")} == {1, 5}
    other = open_dataset("mars", home, options={"variant": "without-queries"})
    assert set(other.split("gallery")) == gallery - query


def test_ten_splits_of_two_cameras(tmp_path):
    home = write_ilids_vid(tmp_path / "iLIDS-VID")
    asked = {
        variant: [one.name.split("/")[3] for one in split("query")]
        for variant in ("1", "2")
        for split in [open_dataset("ilids-vid", home, options={"variant": variant}).split]
    }
    # the first halves of the orders 2, 4, 1, 3 and 1, 2, 3, 4 of persons 1, 2, 4, 7
    assert asked == {"1": ["person002", "person007"], "2": ["person001", "person002"]}
    data = open_dataset("prid2011", write_prid2011(tmp_path / "prid2011"))
    assert [one.name for one in data.split("gallery")] == [
        f"prid_2011/multi_shot/cam_b/person_{person}/0001.png" for person in ("0002", "0009")
    ]
    assert [one.camid for one in data.split("train")] == [1, 2]
    assert [one.pid for one in data.split("query")] == [2, 3]


@pytest.mark.parametrize(
    ("how", "wanted"), [("all", range(9)), ("1", [4]), ("3", [1, 4, 7]), ("20", range(9))]
)
def test_frames_are_evenly_spaced(tmp_path, how, wanted):
    home = write_prid2011(tmp_path / "prid2011")
    for camera in "ab":
        for person in (1, 2, 9):
            place = home / f"prid_2011/multi_shot/cam_{camera}/person_{person:04d}"
            for frame in range(4, 10):
                (place / f"{frame:04d}.png").write_bytes((place / "0001.png").read_bytes())
    data = open_dataset("prid2011", home, options={"frames": how})
    for sample in data.split("gallery"):
        folder = sample.name.rpartition("/")[0]
        found = list(data.tracks[sample.name])
        assert found == [f"{folder}/{frame + 1:04d}.png" for frame in wanted]
    drawn = open_dataset("prid2011", home, options={"frames": "random-4"})
    assert drawn.tracks == open_dataset("prid2011", home, options={"frames": "random-4"}).tracks
    for name, frames in drawn.tracks.items():
        assert len(set(frames)) == 4 and list(frames) == sorted(frames)
        assert set(frames) <= {f"{name.rpartition('/')[0]}/{n:04d}.png" for n in range(1, 10)}
    assert len({tuple(one.rpartition("/")[2] for one in own) for own in drawn.tracks.values()}) > 1
    with pytest.raises(BadInput, match="--frames few: wanted all, N"):
        open_dataset("prid2011", home, options={"frames": "few"})


def test_a_tracklet_beyond_its_list_is_named(tmp_path):
    home = write_mars(tmp_path / "MARS")
    names = home / "info/test_name.txt"
    names.write_text("".join(f"{line}\n" for line in names.read_text().splitlines()[:-1]))
    with pytest.raises(BadInput, match="tracklet 6: frames 12 to 15; test_name.txt has 14"):
        open_dataset("mars", home)


def weights_file(tmp_path):
    path = tmp_path / "weights.pth"
    torch.manual_seed(0)
    torch.save(shufflenet_v2_x0_5(weights=None).state_dict(), path)
    return path


def test_one_row_a_tracklet_is_the_mean_of_its_unit_rows(tmp_path, monkeypatch):
    """Against the same frames extracted as images; chunks end within tracklets."""
    home, weights = write_mars(tmp_path / "MARS"), weights_file(tmp_path)
    monkeypatch.setattr("pipelines.extraction.chunks.CHUNK", 4)
    network = {"arch": "shufflenet_v2_x0_5", "weights": weights, "device": "cpu"}
    run = Run(tmp_path / "run")
    path = extract(run, config=ExtractConfig(**SIZE), dataset="mars", root=home, **network)
    data = open_dataset("mars", home)
    plain = Dataset("mars", data.root, {"gallery": data.images("gallery")})
    frames = load_embeddings(
        extract(Run(tmp_path / "other"), config=ExtractConfig(**SIZE), dataset=plain, **network),
        "gallery",
    )
    row = {name: features for name, features in zip(frames.names, frames.features, strict=True)}
    gallery = load_embeddings(path, "gallery")
    assert gallery.names == [one.name for one in data.split("gallery")]
    assert len(gallery) == 5
    for name, found in zip(gallery.names, gallery.features, strict=True):
        own = [row[frame] / np.linalg.norm(row[frame]) for frame in data.tracks[name]]
        np.testing.assert_allclose(found, np.mean(own, axis=0), atol=1e-5)
    found = evaluate(run, config=EvaluateConfig(refine=("none",)))
    assert (found.queries, found.valid_queries, found.gallery) == (2, 2, 5)


def test_a_tracklet_goes_on_without_a_frame_that_cannot_be_read(tmp_path):
    home, weights = write_mars(tmp_path / "MARS"), weights_file(tmp_path)
    lost = open_dataset("mars", home).split("query")
    (home / lost[0].name).write_bytes(b"")  # one of its three frames
    for name in open_dataset("mars", home).tracks[lost[1].name]:
        (home / name).unlink()
    run = Run(tmp_path / "run")
    config = ExtractConfig(**SIZE, on_bad_image="skip")
    path = extract(
        run, config=config, dataset="mars", root=home, arch="shufflenet_v2_x0_5",
        weights=weights, device="cpu",
    )  # fmt: skip
    assert load_embeddings(path, "query").names == [lost[0].name]
    assert len(run.manifest(path.name).facts["skipped"]) == 3


def test_training_reads_the_frames(tmp_path):
    home, run = write_mars(tmp_path / "MARS"), Run(tmp_path / "run")
    config = BackboneConfig(
        arch="shufflenet_v2_x0_5", weights="none", height=32, width=16, dim=8, epochs=1, batch=4,
        instances=2, amp="off", workers=1, eval_every=1,
    )  # fmt: skip
    train_backbone(run, "mars", root=home, config=config, device="cpu")
    lines = read_log(run.path("train.jsonl"), "train-backbone")
    assert any("mAP" in line for line in lines)
    done = nformer(f"extract --frames 2 --run {run.folder} --device cpu --set workers=1")
    assert done.code == 0, done.err
    assert load_embeddings(run.path("embeddings.h5"), "train").pids.tolist() == [1, 1, 3, 3]
    assert run.facts("embeddings.h5")["options"] == {"frames": "2"}
    done = nformer(f"evaluate --refine nfc --json --run {run.folder}")
    assert json.loads(done.out)["gallery"] == 5


def test_a_check_counts_tracklets_and_decodes_frames(tmp_path):
    home = write_mars(tmp_path / "MARS")
    last = open_dataset("mars", home).images("gallery")[-1].name
    (home / last).write_bytes(b"nothing")
    done = nformer(f"check-data mars --root {home}")
    assert done.code == 1
    assert "tracklets" in done.out and "it is no image of a known kind (1)" in done.out
    assert "finds itself" not in done.out  # queries stand in the gallery, as is meant
