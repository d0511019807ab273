"""The ways to cluster, by name, behind one interface: the clusters at a threshold."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..neighbours.graph import NeighbourGraph
from .constraints import Constraints
from .linkage import average_linkage, single_linkage
from .pairs import pairs_of

if TYPE_CHECKING:
    from .dendrogram import Dendrogram

PAIRS_DRAWN = 20_000  # of which the median similarity is that of two people


class Hierarchy(Protocol):
    """Clusters at every threshold, a similarity (cosine)."""

    def cut(self, threshold: float) -> np.ndarray:
        """Return the clusters [N] at a threshold, numbered from 0 by their first rows."""

    def levels(self, count: int) -> Sequence[float] | np.ndarray:
        """Return at most `count` thresholds worth comparing, falling."""


def hierarchy(
    method: str, rows: np.ndarray, *, graph: NeighbourGraph, constraints: Constraints
) -> Hierarchy:
    """Return the clusters of unit rows [N, d] at every threshold; method: of `names.METHODS`."""
    if method == "agglomerative":
        return _averaged(rows, graph=graph, constraints=constraints)
    pairs = pairs_of(graph, mutual=True)
    if method == "components":
        return single_linkage(pairs, constraints=constraints)
    from .flat import Communities, Density

    if method == "hdbscan":
        return Density(rows, graph=graph, constraints=constraints)
    return Communities(rows, pairs, constraints=constraints, method=method)


def _averaged(rows: np.ndarray, *, graph: NeighbourGraph, constraints: Constraints) -> "Dendrogram":
    pairs = pairs_of(graph, mutual=False)
    return average_linkage(rows, pairs, constraints=constraints, least=usual_similarity(rows))


def usual_similarity(rows: np.ndarray) -> float:
    """Return the median similarity of pairs of rows: mostly of two people, so none merges there."""
    random = np.random.default_rng(0)
    first, second = random.integers(0, len(rows), (2, PAIRS_DRAWN))
    apart = first != second
    if not apart.any():
        return -1.0
    return float(np.median(np.einsum("nd,nd->n", rows[first[apart]], rows[second[apart]])))
