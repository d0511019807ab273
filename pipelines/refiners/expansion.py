"""Query expansion and database augmentation with similarity^α weights (`aqe`).

Radenović, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2019
(α-weighted query expansion); Turcot and Lowe, 2009 (augmenting the database the same way). Every
item becomes the sum of its nearest, itself included, each weighted by max(similarity, 0)^α.

Cost: one neighbour search of the gallery, one of the queries in it; O((Q + G) k d).
"""

import numpy as np

from ..embeddings import Embeddings
from ..errors import BadInput
from ..neighbours.graph import Neighbourhoods
from .base import Pair, RefineProtocol, both_rows, split_rows, weighted_sum, with_rows


def expand_queries(
    near: Neighbourhoods,
    *,
    protocol: RefineProtocol = "isolated",
    train: Embeddings | None = None,
    k: int = 5,
    alpha: float = 3.0,
) -> Pair:
    """Return both sets with every item summed with its k nearest others.

    isolated: a query reads the gallery's unexpanded rows, the gallery itself; joint: one set.
    """
    if k < 1:
        raise BadInput(f"aqe: k is {k}; at least 1 is wanted")
    if protocol == "joint":
        rows, graph = near.joint_rows(), near.joint(k + 1)
        found = graph.index[:, : k + 1], graph.similarity[:, : k + 1]
        return split_rows(
            near, weighted_sum(rows, index=found[0], weights=weights_of(found[1], alpha))
        )
    query, gallery = both_rows(near)
    graph, ahead = near.gallery(k + 1), near.query(k)
    expanded = weighted_sum(
        gallery,
        index=graph.index[:, : k + 1],
        weights=weights_of(graph.similarity[:, : k + 1], alpha),
    )
    asked = query + weighted_sum(
        gallery, index=ahead.index[:, :k], weights=weights_of(ahead.similarity[:, :k], alpha)
    )
    return with_rows(near, asked, gallery=expanded)


def weights_of(similarity: np.ndarray, alpha: float) -> np.ndarray:
    """Return max(similarity, 0)^α."""
    return np.maximum(similarity, 0) ** np.float32(alpha)
