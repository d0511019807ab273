"""One embedding a track, worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.data.boxes import Box
from pipelines.errors import BadInput
from pipelines.extraction.pictures import Picture
from pipelines.extraction.tracklets import tracklets

FEATURES = np.array([[2.0, 0.0], [0.0, 3.0], [0.0, 1.0], [5.0, 5.0]], np.float32)
TRACKS = ("a", "a", "a", "")
SCORES = (0.9, 0.8, 0.1, 0.5)


def made(pooling, scores=SCORES):
    pictures = [
        Picture(Path("f.jpg"), Box("f.jpg", row, 0, 2, 2, score, track))
        for row, (track, score) in enumerate(zip(TRACKS, scores, strict=True))
    ]
    return tracklets(FEATURES, pictures, names=[one.name for one in pictures], pooling=pooling)


@pytest.mark.parametrize(
    ("pooling", "wanted"),
    [("mean", [1 / 3, 2 / 3]), ("median", [0, 1]), ("best-2", [0.5, 0.5]), ("best-1", [1, 0])],
)
def test_boxes_of_a_track_become_one_item(pooling, wanted):
    found = made(pooling)
    np.testing.assert_allclose(found.features, [wanted, [5, 5]], atol=1e-6)
    assert found.members == ["f.jpg#xywh=0,0,2,2\nf.jpg#xywh=1,0,2,2\nf.jpg#xywh=2,0,2,2", ""]


def test_the_item_is_named_by_its_nearest_box():
    assert made("mean").names == ["f.jpg#xywh=1,0,2,2&track=a", "f.jpg#xywh=3,0,2,2"]
    assert made("best-1").names[0] == "f.jpg#xywh=0,0,2,2&track=a"


def test_what_cannot_be_pooled_is_said():
    with pytest.raises(BadInput, match="--tracks max: wanted mean, median, or best-K"):
        made("max")
    with pytest.raises(BadInput, match="--tracks best-2 needs a score of every box"):
        made("best-2", scores=(0.9, np.nan, 0.1, 0.5))
