"""k-reciprocal re-ranking on the sparse neighbour graph.

Zhong, Zheng, Cao and Li, "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR
2017. An item is described by its expanded k-reciprocal neighbours (Eq. 2 to 4), weighted by their
distance (Eq. 7) and averaged over its k2 nearest (Eq. 11); the Jaccard distance of two
descriptions (Eq. 10) is mixed with the original distance (Eq. 12).

Cost for N = Q + G: one exact neighbour search of the N items, then O(N k²) time and O(N k)
memory, and O(Q G) time for the distances, of which a block exists at a time.
"""

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from ...embeddings import Embeddings
from ...errors import BadInput
from ...neighbours.checked import check_widths, unit_rows
from ...neighbours.exact import blocks, product_blocks
from ...neighbours.graph import (
    NeighbourGraph,
    Neighbourhoods,
    least_similarity,
    neighbour_graph,
)
from ...progress import Progress
from .jaccard import (
    JaccardDistances,
    averaged,
    largest_distance,
    list_matrix,
    neighbour_weights,
    reciprocal_matrix,
    rows_of,
)


def rerank_k_reciprocal(
    query: Any,
    gallery: Any,
    *,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
    device: str = "auto",
    progress: Progress | None = None,
) -> np.ndarray:
    """Return the re-ranked distances [Q, G] float32.

    query, gallery: Embeddings, or features [Q, d] and [G, d] (numpy or torch).
    k1: neighbours that must list each other; k2: items averaged; weight: of the original
        distance (λ). k1 and k2 are clipped to what the set holds.

    Queries take part in each other's neighbourhoods: the protocol is `joint` by definition.

    Raises:
        BadInput: other widths, an empty side, NaN rows, settings out of range.
    """
    check_settings(k1=k1, k2=k2, weight=weight)
    rows, queries = joined(query, gallery)
    graph = neighbour_graph(rows, max(k1 + 1, k2), least=True, device=device, progress=progress)
    sides = slice(0, queries), slice(queries, None)
    return whole(k_reciprocal(rows, sides, graph=graph, k1=k1, k2=k2, weight=weight))


def rank_k_reciprocal(
    near: Neighbourhoods, *, k1: int = 20, k2: int = 6, weight: float = 0.3
) -> JaccardDistances:
    """Return the re-ranked distances of two sets, a block at a time, from their joint graph."""
    check_settings(k1=k1, k2=k2, weight=weight)
    graph = near.joint(max(k1 + 1, k2))
    return k_reciprocal(near.joint_rows(), near.sides, graph=graph, k1=k1, k2=k2, weight=weight)


def k_reciprocal(
    rows: np.ndarray,
    sides: tuple[slice, slice],
    *,
    graph: NeighbourGraph,
    k1: int,
    k2: int,
    weight: float,
) -> JaccardDistances:
    """Return the distances of unit rows [N, d] from the graph over them; sides: as in `of_set`."""
    assert graph.least is not None
    largest = largest_distance(graph.least)
    edges = expanded_neighbours(graph.index, k1)
    weights = averaged(neighbour_weights(rows, edges, largest=largest), graph.index[:, :k2])
    return JaccardDistances.of_set(rows, weights, sides=sides, largest=largest, weight=weight)


def rank_k_reciprocal_isolated(
    near: Neighbourhoods, *, k1: int = 20, k2: int = 6, weight: float = 0.3
) -> JaccardDistances:
    """Return the re-ranked distances of queries that do not see each other, a block at a time.

    The gallery is described by itself alone; a query by its reciprocal neighbours in the gallery,
    as if it were the only query, with the same expansion, weights and averaging. So a query's
    distances are the same alone and among a thousand, and new queries leave the gallery's
    descriptions as they are, which re-ranking as published (`kr`) does not grant. It costs one
    search of the gallery, and one of the queries in it; then as `kr`.

    k1, k2, weight: as in `rerank_k_reciprocal`; a query itself counts among its k2.
    """
    if near.one_set:  # each is described by the gallery already
        return rank_k_reciprocal(near, k1=k1, k2=k2, weight=weight)
    check_settings(k1=k1, k2=k2, weight=weight)
    query = unit_rows(near.query_items.features, "query")
    gallery = unit_rows(near.gallery_items.features, "gallery")
    graph, ahead = near.gallery(max(k1 + 1, k2)), near.query(max(k1, k2))
    edges = expanded_neighbours(graph.index, k1)
    plain = neighbour_weights(gallery, edges, largest=largest_distance(least_similarity(gallery)))
    asked, largest = query_weights(query, gallery, graph=graph, ahead=ahead, k1=k1)
    nearest = ahead.index[:, : k2 - 1]
    if nearest.shape[1]:
        named = list_matrix(nearest, np.float32(1), columns=len(gallery))
        asked = (asked + named @ plain) * np.float32(1 / (nearest.shape[1] + 1))
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
) -> tuple[csr_array, np.ndarray]:
    """Return each query's weights on the gallery [Q, G], without its own, and its largest distance.

    A gallery item lists a query when it is nearer than the item's k1-th of the gallery.
    """
    index, similarity = ahead.index[:, :k1], ahead.similarity[:, :k1]
    reach = np.full(len(gallery), -np.inf, np.float32)
    if graph.index.shape[1] > k1:
        reach = graph.similarity[:, k1]
    row, rank = np.nonzero(similarity > reach[index])
    edges = csr_array(
        (np.ones(len(row), np.int32), (row, index[row, rank])), shape=(len(query), len(gallery))
    )
    edges = joined_by_halves(edges, half_neighbours(graph.index, k1))
    least = [products.min(axis=1) for _, products in product_blocks(query, gallery)]
    largest = largest_distance(np.concatenate(least))
    row = rows_of(edges)
    cosine = np.einsum("pd,pd->p", query[row], gallery[edges.indices])
    weights = np.exp(-np.maximum(2 - 2 * cosine, 0) / largest[row])
    total = 1 + np.bincount(row, weights=weights, minlength=len(query))  # its own is exp(0)
    data = (weights / total[row]).astype(np.float32)
    return csr_array((data, edges.indices, edges.indptr), shape=edges.shape), largest


def expanded_neighbours(index: np.ndarray, k1: int) -> csr_array:
    """Return each item's k-reciprocal neighbours and those of them that mostly agree (Eq. 4).

    A neighbour's own reciprocal half-neighbours join when two thirds of them are there already.
    index: [N, >= k1 + 1] int64, nearest first, each item its own first.   returns: [N, N] sparse.
    """
    return joined_by_halves(reciprocal_matrix(index[:, : k1 + 1]), half_neighbours(index, k1))


def half_neighbours(index: np.ndarray, k1: int) -> csr_array:
    """Return the reciprocal edges of the first half of each list, the item itself included."""
    return reciprocal_matrix(index[:, : int(np.around(k1 / 2)) + 1])


def joined_by_halves(near: csr_array, half: csr_array) -> csr_array:
    """Return edges [M, N] with the half-neighbours [N, N] of each that are mostly among them."""
    common = (near @ half.T).multiply(near).tocsr()  # |R(i) ∩ R½(c)| on the edges (i, c)
    size = np.diff(half.indptr)
    common.data = (3 * common.data > 2 * size[common.indices]).astype(np.int32)
    common.eliminate_zeros()
    return (near + common @ half).tocsr()


def whole(ranked: JaccardDistances) -> np.ndarray:
    """Return all the distances as one [Q, G] float32."""
    distances = np.empty(ranked.shape, np.float32)
    for block in blocks(*ranked.shape):
        distances[block] = ranked.rows(block)
    return distances


def joined(query: Any, gallery: Any) -> tuple[np.ndarray, int]:
    """Return both sets' unit rows as one array, the queries first, and how many they are."""
    q, g = (
        unit_rows(items.features if isinstance(items, Embeddings) else items, what)
        for items, what in ((query, "query"), (gallery, "gallery"))
    )
    if not len(q) or not len(g):
        raise BadInput(f"re-ranking {len(q)} queries over {len(g)} gallery items: both are needed")
    check_widths(q, g)
    return np.concatenate([q, g]), len(q)


def check_settings(*, k1: int, k2: int, weight: float) -> None:
    """Raise BadInput for settings outside their range."""
    if k1 < 1 or k2 < 1:
        raise BadInput(f"k1 is {k1} and k2 {k2}; both must be at least 1")
    if not 0 <= weight <= 1:
        raise BadInput(f"the weight of the original distance is {weight}; 0 to 1 is wanted")
