"""Neighbour feature centralisation (`nfc`).

Yuan, Zhang, Ma, Zhang and Niu, "From Poses to Identity: Training-Free Person Re-Identification via
Feature Centralization", CVPR 2025 (arXiv 2503.00938), section 3.4: to every item the features of
those of its k1 nearest are added that have it among their own k2 nearest.

Cost: one neighbour search of the gallery, one of the queries in it; O((Q + G) k (k + d)).
"""

import numpy as np

from ..embeddings import Embeddings
from ..errors import BadInput
from ..neighbours.graph import NeighbourGraph, Neighbourhoods
from ..neighbours.reciprocity import mutual
from .base import Pair, RefineProtocol, both_rows, split_rows, weighted_sum, with_rows


def centralise(
    near: Neighbourhoods,
    *,
    protocol: RefineProtocol = "isolated",
    train: Embeddings | None = None,
    k1: int = 2,
    k2: int = 2,
) -> Pair:
    """Return both sets with every item moved towards its mutual neighbours.

    k1, k2: neighbours other than the item itself. isolated: a query counts among a gallery item's
    k2 nearest when it is nearer than the k2-th of the gallery, other queries left aside.
    """
    if min(k1, k2) < 1:
        raise BadInput(f"nfc: k1 is {k1} and k2 {k2}; both must be at least 1")
    if protocol == "joint":
        rows, graph = near.joint_rows(), near.joint(max(k1, k2) + 1)
        return split_rows(near, centralised(rows, graph, k1=k1, k2=k2))
    query, gallery = both_rows(near)
    graph, ahead = near.gallery(max(k1, k2) + 1), near.query(k1)
    index, similarity = ahead.index[:, :k1], ahead.similarity[:, :k1]
    listed = similarity > reach(graph, k2)[index]
    return with_rows(
        near,
        query + weighted_sum(gallery, index=index, weights=listed),
        gallery=centralised(gallery, graph, k1=k1, k2=k2),
    )


def centralised(rows: np.ndarray, graph: NeighbourGraph, *, k1: int, k2: int) -> np.ndarray:
    """Return unit rows [N, d], each with its mutual neighbours' added."""
    lists = graph.index[:, : max(k1, k2) + 1]
    kept = mutual(lists, within=k2 + 1)[:, : k1 + 1]
    return rows + weighted_sum(rows, index=lists[:, : k1 + 1], weights=kept)


def reach(graph: NeighbourGraph, k: int) -> np.ndarray:
    """Return each item's similarity to its k-th neighbour beside itself; -inf with fewer."""
    if graph.index.shape[1] <= k:
        return np.full(len(graph.index), -np.inf, np.float32)
    return graph.similarity[:, k]
