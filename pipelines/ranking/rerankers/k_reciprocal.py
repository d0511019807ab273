"""k-reciprocal re-ranking on the sparse neighbour graph.

Zhong, Zheng, Cao and Li, "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR
2017. An item is described by its expanded k-reciprocal neighbours (Eq. 2 to 4), weighted by their
distance (Eq. 7) and averaged over its k2 nearest (Eq. 11); the Jaccard distance of two
descriptions (Eq. 10) is mixed with the original distance (Eq. 12).

Cost for N = Q + G: one exact neighbour search of the N items, then O(N k²) time and O(N k)
memory, and O(Q G) time for the distances, of which a block exists at a time.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from ...embeddings import Embeddings
from ...errors import BadInput
from ...neighbours.checked import unit_rows
from ...neighbours.exact import blocks
from ...neighbours.graph import NeighbourGraph, Neighbourhoods, neighbour_graph
from ...progress import Progress
from .jaccard import (
    JaccardDistances,
    averaged,
    largest_distance,
    neighbour_weights,
    reciprocal_matrix,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array


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
    return whole(k_reciprocal(rows, queries, graph=graph, k1=k1, k2=k2, weight=weight))


def rank_k_reciprocal(
    near: Neighbourhoods, *, k1: int = 20, k2: int = 6, weight: float = 0.3
) -> JaccardDistances:
    """Return the re-ranked distances of two sets, a block at a time, from their joint graph."""
    check_settings(k1=k1, k2=k2, weight=weight)
    graph = near.joint(max(k1 + 1, k2))
    return k_reciprocal(
        near.joint_rows(), len(near.query_items), graph=graph, k1=k1, k2=k2, weight=weight
    )


def k_reciprocal(
    rows: np.ndarray, queries: int, *, graph: NeighbourGraph, k1: int, k2: int, weight: float
) -> JaccardDistances:
    """Return the distances of unit rows [N, d], the queries first, from the graph over them."""
    assert graph.least is not None
    largest = largest_distance(graph.least)
    edges = expanded_neighbours(graph.index, k1)
    weights = averaged(neighbour_weights(rows, edges, largest=largest), graph.index[:, :k2])
    return JaccardDistances.of_set(rows, weights, queries=queries, largest=largest, weight=weight)


def expanded_neighbours(index: np.ndarray, k1: int) -> "csr_array":
    """Return each item's k-reciprocal neighbours and those of them that mostly agree (Eq. 4).

    A neighbour's own reciprocal half-neighbours join when two thirds of them are there already.
    index: [N, >= k1 + 1] int64, nearest first, each item its own first.   returns: [N, N] sparse.
    """
    return joined_by_halves(reciprocal_matrix(index[:, : k1 + 1]), half_neighbours(index, k1))


def half_neighbours(index: np.ndarray, k1: int) -> "csr_array":
    """Return the reciprocal edges of the first half of each list, the item itself included."""
    return reciprocal_matrix(index[:, : int(np.around(k1 / 2)) + 1])


def joined_by_halves(near: "csr_array", half: "csr_array") -> "csr_array":
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
    if q.shape[1] != g.shape[1]:
        raise BadInput(
            f"the query's embeddings are {q.shape[1]} wide, the gallery's {g.shape[1]}; "
            "one network makes one width"
        )
    return np.concatenate([q, g]), len(q)


def check_settings(*, k1: int, k2: int, weight: float) -> None:
    """Raise BadInput for settings outside their range."""
    if k1 < 1 or k2 < 1:
        raise BadInput(f"k1 is {k1} and k2 {k2}; both must be at least 1")
    if not 0 <= weight <= 1:
        raise BadInput(f"the weight of the original distance is {weight}; 0 to 1 is wanted")
