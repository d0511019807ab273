"""When is nobody there? Similarities of strangers to a gallery, from training identities."""

from dataclasses import dataclass

import numpy as np

from ..embeddings import Embeddings
from ..errors import BadInput
from ..models.gallery_index import build_index, nearest_plain, plain_queries
from ..seeding import numpy_generator
from ..training.held_out import split_identities

MOST = 20_000  # training rows used: whole identities, drawn with the seed
FEWEST = 8  # identities of strangers that are worth a calibration
KEPT = 1000  # quantiles of their similarities that the index keeps


@dataclass(frozen=True)
class Calibration:
    """What strangers and acquaintances reach against a gallery of training identities.

    strangers: quantiles of the largest similarity of pictures of people who are not in it.
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


def calibrate(train: Embeddings, *, seed: int) -> Calibration | None:
    """Search a gallery of half of the training identities with pictures of the others, and its own.

    Similarities are those before refinement. None where the training identities are too few.
    """
    known, strangers = _strangers(train, seed)
    if known is None or strangers is None:
        return None
    asking = _one_of_each(known, seed)
    if not asking.any():
        return None
    gallery = known.select(~asking)
    index = build_index(gallery, None)

    def best(items: Embeddings) -> np.ndarray:
        return nearest_plain(index, plain_queries(index, items)).numpy()

    return Calibration(
        _quantiles(best(strangers)),
        _quantiles(best(known.select(asking))),
        len(strangers),
        int(asking.sum()),
        len(gallery),
    )


def some_identities(train: Embeddings, *, most: int, seed: int) -> Embeddings:
    """Return whole identities drawn with the seed, of about `most` rows in all."""
    if len(train) <= most:
        return train
    pids, counts = np.unique(train.pids, return_counts=True)
    order = numpy_generator(seed, "some identities").permutation(len(pids))
    chosen = order[np.cumsum(counts[order]) <= most]
    return train.select(np.isin(train.pids, pids[chosen]))


def _strangers(train: Embeddings, seed: int) -> tuple[Embeddings | None, Embeddings | None]:
    if len(np.unique(train.pids)) < 2 * FEWEST:
        return None, None
    return split_identities(train, share=0.5, seed=seed)


def _one_of_each(known: Embeddings, seed: int) -> np.ndarray:
    """Return [N] bool: one row, drawn with the seed, of each identity that has another."""
    order = numpy_generator(seed, "people who are there").permutation(len(known))
    _, first, counts = np.unique(known.pids[order], return_index=True, return_counts=True)
    asking = np.zeros(len(known), bool)
    asking[order[first[counts > 1]]] = True
    return asking


def _quantiles(scores: np.ndarray) -> list[float]:
    if len(scores) <= KEPT:
        return sorted(round(float(score), 6) for score in scores)
    points = np.quantile(scores, np.linspace(0, 1, KEPT))
    return [round(float(point), 6) for point in points]
