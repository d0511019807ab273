"""Pairs of rows that the neighbour graph lists, each once, with their cosine."""

from dataclasses import dataclass

import numpy as np

from ..neighbours.graph import NeighbourGraph
from ..neighbours.reciprocity import reciprocal


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of `rows` rows.   first < second: [E] int64.   similarity: [E] float32 cosine."""

    rows: int
    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def select(self, chosen: np.ndarray) -> "Pairs":
        """Return the pairs given by an index or a mask."""
        return Pairs(self.rows, self.first[chosen], self.second[chosen], self.similarity[chosen])


def pairs_of(graph: NeighbourGraph, *, mutual: bool) -> Pairs:
    """Return the pairs of a graph in which one row lists the other; mutual: both the other."""
    rows, width = graph.index.shape
    kept = graph.index >= 0
    if mutual:
        kept &= reciprocal(graph.index)
    own = np.broadcast_to(np.arange(rows)[:, None], (rows, width))[kept]
    other, similarity = graph.index[kept], graph.similarity[kept]
    first, second = np.minimum(own, other), np.maximum(own, other)
    apart = first < second
    return distinct(Pairs(rows, first[apart], second[apart], similarity[apart]))


def distinct(pairs: Pairs) -> Pairs:
    """Return pairs each once, ordered by their rows."""
    _, places = np.unique(pairs.first * pairs.rows + pairs.second, return_index=True)
    return pairs.select(places)
