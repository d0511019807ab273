"""One embedding of a tracklet: what its frames, or the boxes of one track, have in common."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..data.boxes import named_box, parts_of
from ..data.samples import Dataset
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
    unit = _unit(features)
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


def track_means(
    dataset: Dataset, split: str, *, parts: Iterable[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Make one embedding of the frames of each of a split's tracklets: the mean of the unit rows.

    parts: places [n] among the split's images, which stand tracklet by tracklet, and their
           embeddings [n, d]; images that could not be read are in none.
    returns: the rows [T] of the samples of which some frame was read, and [T, d] float32.
    """
    samples = dataset.split(split)
    frames = [len(dataset.tracks.get(sample.name, (sample.name,))) for sample in samples]
    owner, counts = np.repeat(np.arange(len(samples)), frames), np.zeros(len(samples))
    sums = np.zeros((len(samples), 0))
    for places, features in parts:
        if len(places):
            sums = sums if sums.shape[1] else np.zeros((len(samples), features.shape[1]))
            np.add.at(sums, owner[places], _unit(features))
            np.add.at(counts, owner[places], 1)
    rows = np.flatnonzero(counts)
    return rows, (sums[rows] / counts[rows, None]).astype(np.float32)


def _unit(features: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(features, axis=1, keepdims=True)
    found: np.ndarray = features / np.maximum(length, 1e-12)
    return found


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
