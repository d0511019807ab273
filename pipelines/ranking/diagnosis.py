"""Where a ranking fails: similarity distributions, camera pairs, matches of each query."""

from typing import NamedTuple

import numpy as np

from ..embeddings import Embeddings
from ..neighbours.checked import unit_rows
from ..neighbours.exact import blocks
from .matches import Matches
from .metrics import score
from .rules import MARKET1501, Rules

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


class Purity(NamedTuple):
    """The share of each image's k nearest that show its person, for k from 1 on: [k] each.

    listed: of all.   mutual: of those whose own k nearest it is among; NaN where none is.
    mutuals: how many of those an image has, in the mean.
    """

    listed: np.ndarray
    mutual: np.ndarray
    mutuals: np.ndarray


def similarities(
    query: Embeddings, gallery: Embeddings, *, rules: Rules = MARKET1501, bins: int = BINS
) -> Similarities:
    """Return the distribution of the similarities of all pairs that the metrics count."""
    q, g = unit_rows(query.features, "query"), unit_rows(gallery.features, "gallery")
    pairs = Matches(query, gallery, rules=rules)
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


def camera_pairs(
    query: Embeddings, gallery: Embeddings, *, rules: Rules = MARKET1501
) -> CameraPairs:
    """Return the mAP of each camera's queries within each camera's gallery."""
    asking, asked = np.unique(query.camids), np.unique(gallery.camids)
    table = np.full((len(asking), len(asked)), np.nan)
    for column, camera in enumerate(asked):
        part = gallery.select(gallery.camids == camera)
        for row, other in enumerate(asking):
            queries = query.select(query.camids == other)
            if Matches(queries, part, rules=rules).any_valid():
                table[row, column] = score(queries, part, rules=rules).mean_ap
    return CameraPairs(asking, asked, table)


def match_counts(
    query: Embeddings, gallery: Embeddings, *, rules: Rules = MARKET1501
) -> np.ndarray:
    """Return how many true matches each query has that are not skipped: [Q] int64."""
    pairs = Matches(query, gallery, rules=rules)
    return np.array([len(pairs.of(number)[0]) for number in range(len(query))], np.int64)


def neighbour_purity(index: np.ndarray, pids: np.ndarray) -> Purity:
    """Return how often the nearest of an image show its person.

    index: [N, 1 + k], the nearest rows of each, itself among them.   pids: [N]; a negative one is
           nobody's: it is never right.
    """
    rows = np.arange(len(index))[:, None]
    others = (index != rows) & (index >= 0)  # -1: an approximate search found no more
    rank = np.cumsum(others, axis=1)  # of each neighbour in its list, from 1
    rank_back = _rank_back(index, np.where(others, rank, 0))
    right = (pids[index] == pids[:, None]) & (pids[:, None] >= 0)
    longest = int(rank[:, -1].min())
    found: list[list[float]] = [[], [], []]
    for k in range(1, longest + 1):
        listed = others & (rank <= k)
        mutual = listed & (rank_back > 0) & (rank_back <= k)
        found[0].append(float(right[listed].mean()))
        found[1].append(float(right[mutual].mean()) if mutual.any() else np.nan)
        found[2].append(float(mutual.sum() / len(index)))
    return Purity(*map(np.array, found))


def _rank_back(index: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Return the rank [N, k] of each row in the list of its neighbour, 0 where it is not there."""
    count = len(index)
    rows = np.repeat(np.arange(count), index.shape[1])
    there, back = rows * count + index.ravel(), index.ravel() * count + rows
    order = np.argsort(there)
    found = order[np.searchsorted(there, back, sorter=order).clip(max=len(order) - 1)]
    return np.where(there[found] == back, rank.ravel()[found], 0).reshape(index.shape)
