"""Merges of clusters, most similar first: one of them gives the clusters at every threshold."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


@dataclass(frozen=True, eq=False)
class Dendrogram:
    """Which clusters of `rows` rows became one, and how similar they were.

    first, second: [M] int64, a row of either cluster.   similarity: [M] float32.
    """

    rows: int
    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray

    def cut(self, threshold: float) -> np.ndarray:
        """Return the clusters [N] after all merges of at least this similarity, numbered from 0."""
        return self.labels(self.similarity >= threshold)

    def labels(self, merges: np.ndarray) -> np.ndarray:
        """Return the clusters [N] after some merges, a mask [M]; numbered by their first rows."""
        return grouped(self.first[merges], self.second[merges], rows=self.rows)

    def levels(self, count: int) -> np.ndarray:
        """Return at most `count` thresholds, falling, that split the merges evenly."""
        places = np.unique(np.linspace(0, len(self.similarity) - 1, count).astype(int))
        ordered = np.sort(self.similarity)[::-1]
        return np.unique(ordered[places])[::-1] if len(ordered) else ordered


def grouped(first: np.ndarray, second: np.ndarray, *, rows: int) -> np.ndarray:
    """Return the connected components [N] of pairs of rows, numbered by their first rows."""
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(rows, rows))
    return in_order_of_rows(connected_components(graph, directed=False)[1])


def in_order_of_rows(labels: np.ndarray) -> np.ndarray:
    """Return labels [N] renumbered from 0 in the order in which they first appear: int64."""
    _, places, inverse = np.unique(labels, return_index=True, return_inverse=True)
    number = np.empty(len(places), np.int64)
    number[np.argsort(places)] = np.arange(len(places))
    return number[inverse]
