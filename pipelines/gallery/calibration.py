"""When is nobody there? Similarities of strangers to a gallery, from training identities."""

from dataclasses import dataclass

import numpy as np

from ..embeddings import Embeddings, row_blocks
from ..errors import BadInput
from ..neighbours.checked import unit_rows
from ..seeding import numpy_generator

MOST = 20_000  # training rows used: whole identities, drawn with the seed
FEWEST = 16  # identities that are worth a calibration
BLOCK_ROWS = 1024
KEPT = 1000  # quantiles of their similarities that the index keeps


@dataclass(frozen=True)
class Calibration:
    """What strangers and acquaintances reach against a gallery of training identities.

    strangers: quantiles of the largest similarity of pictures of people who are taken out of it.
    friends:   the same of people who are.   counts: pictures behind each.   gallery: its size.
    """

    strangers: list[float]
    friends: list[float]
    stranger_count: int
    friend_count: int
    gallery: int

    def threshold(self, false_accepts: float) -> float:
        """Return the similarity that this share of the strangers reaches or exceeds."""
        least = 1 / self.stranger_count
        if not least <= false_accepts < 1:
            raise BadInput(
                f"--false-accept {false_accepts:g}: {self.stranger_count} strangers calibrate "
                f"rates from {least:.2g} up to 1"
            )
        return float(np.quantile(self.strangers, 1 - false_accepts))

    def false_accepts(self, threshold: float) -> float:
        """Return the share of strangers that reach a similarity."""
        return float((np.asarray(self.strangers) >= threshold).mean())

    def accepts(self, threshold: float) -> float:
        """Return the share of people who are in the gallery that reach a similarity."""
        return float((np.asarray(self.friends) >= threshold).mean())


def calibrate(train: Embeddings) -> Calibration | None:
    """Search the training set with each of its pictures, its own identity taken out: a stranger.

    With its identity left in, and only the picture itself taken out, it is of somebody who is
    there. Similarities are those before refinement. None where the identities are too few.
    """
    if len(np.unique(train.pids)) < FEWEST:
        return None
    strangers, friends = _nearest(unit_rows(train.features, "train"), train.pids)
    _, place, counts = np.unique(train.pids, return_inverse=True, return_counts=True)
    there = friends[counts[place] > 1]
    if not len(there):
        return None
    return Calibration(
        _quantiles(strangers), _quantiles(there), len(strangers), len(there), len(train)
    )


def some_identities(train: Embeddings, *, most: int, seed: int) -> Embeddings:
    """Return whole identities drawn with the seed, of about `most` rows in all."""
    if len(train) <= most:
        return train
    pids, counts = np.unique(train.pids, return_counts=True)
    order = numpy_generator(seed, "some identities").permutation(len(pids))
    chosen = order[np.cumsum(counts[order]) <= most]
    return train.select(np.isin(train.pids, pids[chosen]))


def _nearest(rows: np.ndarray, pids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's largest similarity with other identities, and with all other rows: [N]."""
    strangers, friends = (np.empty(len(rows), np.float32) for _ in range(2))
    for part in row_blocks(len(rows), BLOCK_ROWS):
        similarity = rows[part] @ rows.T
        np.fill_diagonal(similarity[:, part], -1)
        friends[part] = similarity.max(axis=1)
        similarity[pids[part, None] == pids] = -1
        strangers[part] = similarity.max(axis=1)
    return strangers, friends


def _quantiles(scores: np.ndarray) -> list[float]:
    if len(scores) <= KEPT:
        return sorted(round(float(score), 6) for score in scores)
    points = np.quantile(scores, np.linspace(0, 1, KEPT))
    return [round(float(point), 6) for point in points]
