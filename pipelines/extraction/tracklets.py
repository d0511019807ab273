"""One embedding of a tracklet: what the boxes of one track have in common."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.boxes import named_box, parts_of
from ..errors import BadInput
from .pictures import Picture

MEAN, MEDIAN, BEST = "mean", "median", re.compile(r"best-([1-9]\d*)")


@dataclass(frozen=True, eq=False)
class Tracklets:
    """Items of an index made of pictures: one for each track, and one for each box without.

    features: [N, d] float32.   names: of the picture that comes nearest to the embedding.
    members:  the names of all pictures of each, a line each; "" where it is the picture itself.
    """

    features: np.ndarray
    names: list[str]
    members: list[str]


def require_pooling(pooling: str) -> None:
    """Raise BadInput unless it is mean, median or best-K."""
    if pooling not in (MEAN, MEDIAN) and BEST.fullmatch(pooling) is None:
        raise BadInput(f"--tracks {pooling}: wanted mean, median, or best-K, such as best-5")


def tracklets(
    features: np.ndarray, pictures: Sequence[Picture], *, names: Sequence[str], pooling: str
) -> Tracklets:
    """Make one embedding of the boxes of each track.

    features: [N, d] of the pictures.   names: of the pictures, as the index names them.
    pooling:  of unit rows: their mean; their median, number by number; best-K: the mean of the K
              with the highest scores.
    """
    require_pooling(pooling)
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    rows: dict[str, list[int]] = {}
    for row, picture in enumerate(pictures):
        track = picture.box.track if picture.box else ""
        rows.setdefault(f"track {track}" if track else f"row {row}", []).append(row)
    found, called, members = [], [], []
    for key, own in rows.items():
        if len(own) == 1 and key.startswith("row "):
            found.append(features[own[0]])
            called.append(names[own[0]])
            members.append("")
            continue
        pooled = _pooled(unit[own], [_score(pictures[row]) for row in own], pooling=pooling)
        nearest = own[int(np.argmax(unit[own] @ pooled))]
        file, rectangle = parts_of(names[nearest])
        assert rectangle is not None
        found.append(pooled)
        called.append(named_box(file, rectangle, track=key.removeprefix("track ")))
        members.append("\n".join(names[row] for row in own))
    return Tracklets(np.stack(found).astype(np.float32), called, members)


def _score(picture: Picture) -> float:
    assert picture.box is not None
    return picture.box.score


def _pooled(unit: np.ndarray, scores: Sequence[float], *, pooling: str) -> np.ndarray:
    best = BEST.fullmatch(pooling)
    if best is not None:
        if np.isnan(scores).any():
            raise BadInput(f"--tracks {pooling} needs a score of every box; use mean or median")
        unit = unit[np.argsort(-np.asarray(scores), kind="stable")[: int(best.group(1))]]
    return np.median(unit, axis=0) if pooling == MEDIAN else unit.mean(axis=0)
