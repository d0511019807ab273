"""Where a ranking is good and where it is not: similarities, camera pairs, matches per query."""

from typing import NamedTuple

import numpy as np

from ..embeddings import Embeddings
from .exact import blocks
from .metrics import score
from .pairs import Pairs
from .rows import unit_rows

BINS = 60


class Similarities(NamedTuple):
    """How cosine similarities are distributed, as shares that add up to 1 for each kind.

    edges: [bins + 1].   same, different: [bins], of pairs of one person and of two.
    """

    edges: np.ndarray
    same: np.ndarray
    different: np.ndarray

    @property
    def overlap(self) -> float:
        """The share that both kinds have in common: 0 where they never mix."""
        return float(np.minimum(self.same, self.different).sum())


class CameraPairs(NamedTuple):
    """mAP by the query's camera and the gallery's.

    query_cameras: [A], gallery_cameras: [B], both sorted.   mean_ap: [A, B], NaN without a match.
    """

    query_cameras: np.ndarray
    gallery_cameras: np.ndarray
    mean_ap: np.ndarray


def similarities(query: Embeddings, gallery: Embeddings, *, bins: int = BINS) -> Similarities:
    """Return the distribution of the similarities of all pairs that the metrics count."""
    q, g = unit_rows(query.features, "query"), unit_rows(gallery.features, "gallery")
    pairs = Pairs(query, gallery.pids, gallery.camids)
    edges = np.linspace(-1, 1, bins + 1)
    everything, same, skipped = (np.zeros(bins) for _ in range(3))
    for block in blocks(len(query), len(gallery)):
        nearness = np.clip(q[block] @ g.T, -1, 1)  # [B, d] x [d, G] -> [B, G]
        everything += np.histogram(nearness, edges)[0]
        for row, number in zip(nearness, range(block.start, block.stop), strict=True):
            matches, own = pairs.of(number)
            same += np.histogram(row[matches], edges)[0]
            skipped += np.histogram(row[own], edges)[0]
    different = everything - same - skipped
    return Similarities(edges, same / max(same.sum(), 1), different / max(different.sum(), 1))


def camera_pairs(query: Embeddings, gallery: Embeddings) -> CameraPairs:
    """Return the mAP of each camera's queries within each camera's gallery."""
    asking, asked = np.unique(query.camids), np.unique(gallery.camids)
    table = np.full((len(asking), len(asked)), np.nan)
    for column, camera in enumerate(asked):
        part = gallery.select(gallery.camids == camera)
        for row, other in enumerate(asking):
            queries = query.select(query.camids == other)
            if Pairs(queries, part.pids, part.camids).any_valid():
                table[row, column] = score(queries, part).mean_ap
    return CameraPairs(asking, asked, table)


def match_counts(query: Embeddings, gallery: Embeddings) -> np.ndarray:
    """Return how many true matches each query has that are not of its own camera: [Q] int64."""
    pairs = Pairs(query, gallery.pids, gallery.camids)
    return np.array([len(pairs.of(number)[0]) for number in range(len(query))], np.int64)
