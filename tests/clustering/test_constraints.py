"""Who must be one identity and who cannot be, from pairs and from frames, by hand."""

import numpy as np
import pytest

from pipelines.clustering.constraints import Constraints
from pipelines.clustering.frames import apart_in_frames
from pipelines.embeddings import Embeddings
from pipelines.errors import BadInput


def items(names, **columns) -> Embeddings:
    rows = np.eye(len(names), dtype=np.float32)
    camids = columns.pop("camids", None)
    arrays = {name: np.array(values) for name, values in columns.items()}
    return Embeddings(rows, None, camids, names, arrays)


def test_a_contradiction_names_two_rows():
    together = Constraints(4, first=np.array([0, 1]), second=np.array([1, 3]))
    apart = Constraints(4, apart=np.array([2, 0, 3]), group=np.array([0, 1, 1]))
    with pytest.raises(BadInput, match="a and d must be one identity by one constraint"):
        together.joined(apart).require_possible(["a", "b", "c", "d"])
    together.require_possible(["a", "b", "c", "d"])


def test_joined_groups_stay_apart():
    one = Constraints(4, apart=np.array([0, 1]), group=np.array([0, 0]))
    both = one.joined(Constraints(4, apart=np.array([2, 3]), group=np.array([0, 0])))
    assert both.group.tolist() == [0, 0, 1, 1]
    assert both.open().forbidden(np.array([0, 0, 2]), np.array([1, 2, 3])).tolist() == [
        True, False, True
    ]  # fmt: skip


def test_merged_clusters_keep_what_each_cannot_be():
    held = Constraints(4, apart=np.array([0, 1, 2, 3]), group=np.array([0, 0, 1, 1])).open()
    held.merge(np.array([0]), np.array([2]))
    assert held.forbidden(np.array([0, 0, 1]), np.array([1, 3, 3])).tolist() == [True, True, False]


def test_merges_that_must_be_take_few_rounds():
    chain = Constraints(8, first=np.arange(7), second=np.arange(1, 8))
    rounds = [list(zip(first, second, strict=True)) for first, second, _ in chain.merges()]
    assert rounds == [[(0, 1), (2, 3), (4, 5), (6, 7)], [(0, 2), (4, 6)], [(0, 4)]]


def test_boxes_of_one_frame_are_apart():
    names = ["f1.jpg#xywh=0,0,1,1", "f1.jpg#xywh=5,0,1,1", "f2.jpg#xywh=0,0,1,1", "crop.jpg"]
    found = apart_in_frames(items(names), "name")
    assert found.apart.tolist() == [0, 1] and found.group.tolist() == [0, 0]


def test_a_tracklet_lies_in_all_of_its_frames():
    names = ["f2.jpg#xywh=0,0,1,1", "f3.jpg#xywh=0,0,1,1"]
    members = ["f1.jpg#xywh=0,0,1,1\nf2.jpg#xywh=0,0,1,1", "f1.jpg#xywh=9,9,1,1"]
    assert apart_in_frames(items(names), "name", members=members).apart.tolist() == [0, 1]


def test_rows_of_one_camera_and_time_are_apart():
    given = items(["a", "b", "c", "d"], time=[5, 5, 5, -1], camids=[1, 1, 2, 1])
    assert apart_in_frames(given, "time").apart.tolist() == [0, 1]


def test_a_column_that_is_not_there_and_one_that_tells_nothing():
    with pytest.raises(BadInput, match="--frames track: these rows have no such column; they have"):
        apart_in_frames(items(["a", "b"], time=[1, 2]), "track")
    with pytest.raises(BadInput, match="no two rows share a frame; a box is named by its frame"):
        apart_in_frames(items(["a", "b"]), "name")
