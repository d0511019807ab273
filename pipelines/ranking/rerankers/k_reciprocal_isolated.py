"""k-reciprocal re-ranking in which no query sees another (`kr-isolated`).

The gallery is described by itself alone, as in `rerank`; a query by its reciprocal neighbours in
the gallery, as if it were the only query, with the same expansion, weights and averaging. So a
query's distances are the same alone and among a thousand, and new queries leave the gallery's
descriptions as they are, which re-ranking as published (`kr`) does not grant.

Cost: one search of the gallery, one of the queries in it; then as `kr`.
"""

from typing import TYPE_CHECKING

import numpy as np

from ...neighbours.checked import unit_rows
from ...neighbours.exact import Room
from ...neighbours.graph import NeighbourGraph, Neighbourhoods, least_similarity
from .jaccard import (
    JaccardDistances,
    averaged,
    largest_distance,
    neighbour_weights,
    rows_of,
)
from .k_reciprocal import check_settings, expanded_neighbours, half_neighbours, joined_by_halves

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def rank_k_reciprocal_isolated(
    near: Neighbourhoods, *, k1: int = 20, k2: int = 6, weight: float = 0.3
) -> JaccardDistances:
    """Return the re-ranked distances of isolated queries, a block at a time.

    k1, k2, weight: as in `rerank_k_reciprocal`; a query itself counts among its k2.
    """
    check_settings(k1=k1, k2=k2, weight=weight)
    query = unit_rows(near.query_items.features, "query")
    gallery = unit_rows(near.gallery_items.features, "gallery")
    graph, ahead = near.gallery(max(k1 + 1, k2)), near.query(max(k1, k2))
    edges = expanded_neighbours(graph.index, k1)
    plain = neighbour_weights(gallery, edges, largest=largest_distance(least_similarity(gallery)))
    asked, largest = query_weights(query, gallery, graph=graph, ahead=ahead, k1=k1)
    nearest = ahead.index[:, : k2 - 1]
    if nearest.shape[1]:
        asked = (asked + listed_sum(plain, nearest)) * np.float32(1 / (nearest.shape[1] + 1))
    return JaccardDistances(
        query,
        gallery,
        query_weights=asked.tocsr(),
        gallery_weights=averaged(plain, graph.index[:, :k2]),
        largest=largest,
        weight=weight,
    )


def query_weights(
    query: np.ndarray, gallery: np.ndarray, *, graph: NeighbourGraph, ahead: NeighbourGraph, k1: int
) -> tuple["csr_array", np.ndarray]:
    """Return each query's weights on the gallery [Q, G], without its own, and its largest distance.

    A gallery item lists a query when it is nearer than the item's k1-th of the gallery.
    """
    from scipy.sparse import csr_array

    index, similarity = ahead.index[:, :k1], ahead.similarity[:, :k1]
    reach = np.full(len(gallery), -np.inf, np.float32)
    if graph.index.shape[1] > k1:
        reach = graph.similarity[:, k1]
    row, place = np.nonzero(similarity > reach[index])
    edges = csr_array(
        (np.ones(len(row), np.int32), (row, index[row, place])), shape=(len(query), len(gallery))
    )
    edges = joined_by_halves(edges, half_neighbours(graph.index, k1))
    room = Room(len(gallery), rows=len(query))
    least = [
        room.product(query[start : start + room.rows], gallery).min(axis=1)
        for start in range(0, len(query), room.rows)
    ]
    largest = largest_distance(np.concatenate(least))
    row = rows_of(edges)
    cosine = np.einsum("pd,pd->p", query[row], gallery[edges.indices])
    weights = np.exp(-np.maximum(2 - 2 * cosine, 0) / largest[row])
    total = 1 + np.bincount(row, weights=weights, minlength=len(query))  # its own is exp(0)
    data = (weights / total[row]).astype(np.float32)
    return csr_array((data, edges.indices, edges.indptr), shape=edges.shape), largest


def listed_sum(weights: "csr_array", index: np.ndarray) -> "csr_array":
    """Return the sum of the weights [G, G] of the items that each row of lists [Q, k] names."""
    from scipy.sparse import csr_array

    Q, k = index.shape
    lists = csr_array(
        (np.ones(Q * k, np.float32), index.ravel(), np.arange(Q + 1) * k),
        shape=(Q, weights.shape[0]),
    )
    return (lists @ weights).tocsr()
