"""Methods of other packages that give one clustering at a time: HDBSCAN, Leiden, Infomap."""

from typing import Any

import numpy as np
from scipy.sparse import coo_array, csr_array

from ..neighbours.graph import NeighbourGraph
from .constraints import Constraints
from .dendrogram import grouped, in_order_of_rows
from .linkage import average_linkage
from .pairs import Pairs, pairs_of

FEWEST = 2  # rows of a cluster of HDBSCAN; the others are alone
UNLISTED = 2.0  # distance that bridges parts of the graph: opposite rows


class Density:
    """HDBSCAN (Campello, Moulavi and Sander, 2013) on the graph's distances, 1 less the cosine.

    scikit-learn's takes a sparse matrix of distances if its graph is connected: the parts of ours
    are bridged by the largest distance that there is. It chooses its clusters by their own
    stability; a threshold below 1 cuts its hierarchy there instead, as DBSCAN* does.
    """

    def __init__(
        self, rows: np.ndarray, *, graph: NeighbourGraph, constraints: Constraints
    ) -> None:
        self.rows, self.constraints = rows, constraints
        self.pairs = pairs_of(graph, mutual=False)
        self.distances = _connected(self.pairs)

    def levels(self, count: int) -> list[float]:
        """Return 1, which cuts nowhere: the clusters are chosen by their stability."""
        return [1.0]

    def cut(self, threshold: float) -> np.ndarray:
        """Return the clusters [N] of the highest stability or, below 1, at the threshold."""
        from sklearn.cluster import HDBSCAN

        if len(self.rows) <= FEWEST:
            return np.arange(len(self.rows))
        found = HDBSCAN(
            min_cluster_size=FEWEST,
            min_samples=1,
            metric="precomputed",
            copy=True,
        ).fit(self.distances)
        given = found.labels_
        if threshold < 1:
            given = found.dbscan_clustering(1 - threshold, min_cluster_size=FEWEST)
        alone, labels = given < 0, given.astype(np.int64)
        labels[alone] = labels.max(initial=-1) + 1 + np.arange(alone.sum())
        return kept_to(labels, self.rows, pairs=self.pairs, constraints=self.constraints)


class Communities:
    """Communities of the mutual neighbours above a threshold, weighted by similarity (igraph)."""

    def __init__(
        self, rows: np.ndarray, pairs: Pairs, *, constraints: Constraints, method: str
    ) -> None:
        self.rows, self.pairs, self.constraints, self.method = rows, pairs, constraints, method

    def levels(self, count: int) -> np.ndarray:
        """Return thresholds that split the pairs evenly, at most 12: each takes a search."""
        shares = np.linspace(1, 0, min(count, 12) + 1)[:-1]
        return np.unique(np.quantile(self.pairs.similarity, shares))[::-1]

    def cut(self, threshold: float) -> np.ndarray:
        """Return the communities [N] of the pairs of at least this similarity."""
        import random

        import igraph

        kept = self.pairs.select(self.pairs.similarity >= threshold)
        ends = np.stack([kept.first, kept.second], axis=1)
        network = igraph.Graph(n=kept.rows, edges=ends)
        weights = np.maximum(kept.similarity, 1e-6).tolist()
        igraph.set_random_number_generator(random.Random(0))
        if self.method == "leiden":
            found: Any = network.community_leiden("modularity", weights=weights, n_iterations=-1)
        else:
            found = network.community_infomap(edge_weights=weights)
        labels = in_order_of_rows(np.array(found.membership))
        return kept_to(labels, self.rows, pairs=self.pairs, constraints=self.constraints)


def kept_to(
    labels: np.ndarray, rows: np.ndarray, *, pairs: Pairs, constraints: Constraints
) -> np.ndarray:
    """Return clusters [N] changed as little as the constraints ask for.

    Rows that must be together are; then the parts of each cluster that may be together are joined
    again, the most similar first.
    """
    if not constraints:
        return in_order_of_rows(labels)
    within = pairs.select(labels[pairs.first] == labels[pairs.second])
    return average_linkage(rows, within, constraints=constraints).cut(-np.inf)


def _connected(pairs: Pairs) -> csr_array:
    """Return the distances of pairs as a symmetric [N, N], its parts bridged by UNLISTED."""
    part = grouped(pairs.first, pairs.second, rows=pairs.rows)
    _, heads = np.unique(part, return_index=True)
    first = np.concatenate([pairs.first, heads[:-1]])
    second = np.concatenate([pairs.second, heads[1:]])
    distance = np.maximum(1 - pairs.similarity.astype(np.float64), 1e-9)  # 0 would be no edge
    values = np.concatenate([distance, np.full(len(heads) - 1, UNLISTED)])
    half = coo_array((values, (first, second)), shape=(pairs.rows, pairs.rows)).tocsr()
    return csr_array(half + half.T)
