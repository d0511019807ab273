"""Further labels, boxes and tracklets of a user's own table and folder, carried to embeddings."""

import pytest
import torch
from helpers.layouts import write_image
from torchvision.models import shufflenet_v2_x0_5

from pipelines import BadInput, Run, extract, load_embeddings
from pipelines.config import ExtractConfig
from pipelines.data.catalogue import open_dataset
from pipelines.data.images import ImageFiles
from pipelines.preprocessing import Preprocessing
from pipelines.stages.check_data import check_data

HEADER = "path,pid,camid,split,bbox,clothes,track,time,illumination,viewpoint"
LINES = (
    'a1.png,anna,1,train,"[0, 0, 4, 6]",1,7,2024-01-02,day,front',
    "a2.png,anna,1,train,,1,7,2024-01-03,night,back",
    'b1.png,bob,2,query,"2 1 4 6",2,,2024-01-04,day,front',
    'b1.png,carl,2,query,"0 0 3 3",,,,,',
    "b2.png,bob,3,gallery,,3,,2024-01-05,day,",
    "c2.png,carl,3,gallery,,3,,2024-01-05,day,",
)


def table(home, lines=LINES, header=HEADER):
    for number, line in enumerate(lines):
        write_image(home / line.partition(",")[0], number, (8, 12))
    (home / "list.csv").write_text("".join(f"{line}\n" for line in (header, *lines)))
    return home / "list.csv"


def test_every_label_of_a_table_reaches_the_embeddings(tmp_path):
    weights = tmp_path / "weights.pth"
    torch.save(shufflenet_v2_x0_5(weights=None).state_dict(), weights)
    config = ExtractConfig(height=32, width=32, workers=1, amp="off")
    path = extract(
        Run(tmp_path / "run"), config=config, device="cpu", dataset="csv",
        root=table(tmp_path / "own"), arch="shufflenet_v2_x0_5", weights=weights,
    )  # fmt: skip
    query, gallery = (load_embeddings(path, split) for split in ("query", "gallery"))
    assert query.names == ["b1.png#xywh=0,0,3,3", "b1.png#xywh=2,1,4,6"]
    assert query.columns["clothes"].tolist() == [-1, 2]
    assert load_embeddings(path, "train").columns["track"].tolist() == [7, 7]
    assert query.columns["time"].tolist() == [-1, 2]  # dates in order, from 0
    assert gallery.columns["time"].tolist() == [3, 3]
    assert gallery.columns["illumination"].tolist() == [0, 0]  # day; night is 1
    assert query.columns["viewpoint"].tolist() == [-1, 1]  # back is 0


def test_boxes_of_a_table_are_cut_out(tmp_path):
    file = table(tmp_path)
    data = open_dataset("csv", file)
    name = data.split("query")[1].name
    assert name == "b1.png#xywh=2,1,4,6"
    part = ImageFiles(data.root, [name], preprocessing=Preprocessing(height=6, width=4)).read(0)
    whole = Preprocessing(height=12, width=8)
    assert (part == ImageFiles(data.root, ["b1.png"], preprocessing=whole).read(0)[1:7, 2:6]).all()
    assert check_data("csv", root=file).errors == []
    table(tmp_path, ['a1.png,anna,1,train,"0 0 40 60",,,,,', *LINES[1:]])
    (error,) = check_data("csv", root=file).errors
    assert "its box lies outside of the picture, 8×12" in error.what
    table(tmp_path, ["a1.png,anna,1,train,3 4,,,,,"])
    with pytest.raises(BadInput, match="line 2: bbox is '3 4'; wanted .x, y, width, height."):
        open_dataset("csv", file)
    table(tmp_path, [LINES[0], LINES[0]])
    with pytest.raises(BadInput, match="line 3: a1.png#xywh=0,0,4,6 is listed twice"):
        open_dataset("csv", file)


def test_images_of_a_track_are_a_tracklet(tmp_path):
    """Two tracks of three frames of each person: queries are drawn of tracklets, not of frames."""
    lines = [
        f"{person}{camera}{frame}.png,{person},{camera},t{camera}"
        for person in "xyz"
        for camera in (1, 2)
        for frame in "abc"
    ]
    file = table(tmp_path / "own", [*lines, "z9.png,z,2,"], "path,pid,camid,track")
    plain = open_dataset("csv", file, options={"split": 0.0})
    assert (sum(map(len, plain.splits.values())), plain.tracks) == (19, {})
    data = open_dataset("csv", file, options={"split": 0.0, "frames": "2"})
    tested = {one.name for split in ("query", "gallery") for one in data.split(split)}
    assert tested == {f"{person}{camera}a.png" for person in "xyz" for camera in "12"} | {"z9.png"}
    assert len(data.split("query")) + len(data.split("gallery")) == 7
    assert data.tracks["x1a.png"] == ("x1a.png", "x1c.png")
    assert data.tracks["z9.png"] == ("z9.png",)  # which has no track
    assert data.options["frames"] == "2"
    assert any("7 tracklets of 13 of 19 frames" in notice for notice in data.notices)
    again = open_dataset("csv", data.root, options=data.options)
    assert (again.splits, again.tracks) == (data.splits, data.tracks)


def test_patterns_hold_labels_and_tracks_too(tmp_path):
    for person, camera, track, frame in (
        *(("anna", 1, 4, 1), ("anna", 1, 4, 2), ("anna", 2, 5, 1)),
        *(("bob", 1, 4, 1), ("bob", 1, 4, 2), ("bob", 2, 8, 1)),
    ):
        write_image(tmp_path / f"{person}_c{camera}_t{track}_red_{frame}.png", camera + frame)
    pattern = "{pid}_c{camid}_t{track}_{clothes}_*.png"
    data = open_dataset(
        "folder", tmp_path, options={"pattern": pattern, "split": 0.0, "frames": "all"}
    )
    samples = [one for split in data.filled_splits() for one in data.split(split)]
    assert sorted(len(data.tracks[one.name]) for one in samples) == [1, 1, 2, 2]
    assert {data.columns["track"][one.name] for one in samples} == {4, 5, 8}
    assert {data.columns["clothes"][one.name] for one in samples} == {0}
    options = {"pattern": "{pid}_c{camid}_*.png", "split": 0.0, "frames": "all"}
    with pytest.raises(BadInput, match="--frames: no track is known; wanted a column track"):
        open_dataset("folder", tmp_path, options=options)
