"""k-reciprocal re-ranking on the sparse neighbour graph (Zhong et al., CVPR 2017).

An item is described by its k-reciprocal neighbours, weighted by their distance (Eq. 4, 5 and 7 of
the paper), averaged over its k2 nearest (Eq. 11); the Jaccard distance of two descriptions (Eq.
10) is mixed with the original distance (Eq. 12). Everything but the final block of distances is
sparse: O(N k) memory for N = Q + G items.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..embeddings import Embeddings
from ..errors import BadInput
from ..progress import Progress
from .exact import blocks, in_threads
from .neighbours import NeighbourGraph, neighbour_graph
from .rows import unit_rows

if TYPE_CHECKING:
    from scipy.sparse import csc_array, csr_array

PAIR_BLOCK = 1 << 12  # pairs of rows multiplied while they are in the cache
STRIP_ROWS = 32  # queries whose Jaccard distances are found at once


def rerank_k_reciprocal(
    query: Any,
    gallery: Any,
    *,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
    progress: Progress | None = None,
) -> np.ndarray:
    """Return the re-ranked distances [Q, G] float32.

    query, gallery: Embeddings, or features [Q, d] and [G, d] (numpy or torch).
    k1: neighbours that must list each other; k2: items averaged; weight: of the original
        distance (λ). k1 and k2 are clipped to what the set holds.

    Queries take part in each other's neighbourhoods: the protocol is `joint` by definition.
    """
    ranked = KReciprocal(query, gallery, k1=k1, k2=k2, weight=weight, progress=progress)
    distances = np.empty(ranked.shape, np.float32)
    for block in blocks(*ranked.shape):
        distances[block] = ranked.rows(block)
    return distances


class KReciprocal:
    """The re-ranked distances of a query and a gallery set, a block of query rows at a time."""

    def __init__(
        self,
        query: Any,
        gallery: Any,
        *,
        k1: int = 20,
        k2: int = 6,
        weight: float = 0.3,
        graph: NeighbourGraph | None = None,
        device: str = "auto",
        progress: Progress | None = None,
    ) -> None:
        check_settings(k1, k2, weight)
        features = joined(query, gallery)
        queries = len(features_of(query))
        self.shape = (queries, len(features) - queries)
        self.query, self.gallery = features[:queries], features[queries:]
        self.weight = weight
        graph = graph or neighbour_graph(
            features, max(k1 + 1, k2), least=True, device=device, progress=progress
        )
        assert graph.least is not None
        self.farthest = largest_distance(graph.least)
        index = graph.index
        described = expanded(describe(features, index, self.farthest, k1), index, k2)
        self.query_weights = described[:queries]
        self.by_column = described[queries:].tocsc()

    def rows(self, block: slice) -> np.ndarray:
        """Return the distances [B, G] of the queries in one slice."""
        distances = 2 - 2 * (self.query[block] @ self.gallery.T)  # [B, d] x [d, G] -> [B, G]
        np.maximum(distances, 0, out=distances)
        distances *= (self.weight / self.farthest[: self.shape[0]][block])[:, None]
        distances += 1 - self.weight
        in_threads(
            partial(self._bring_nearer, distances, block.indices(self.shape[0])[0]), len(distances)
        )
        return distances

    def _bring_nearer(self, distances: np.ndarray, first: int, part: slice) -> None:
        """Subtract the weighted Jaccard similarity from some rows of a block, in place."""
        for start in range(part.start, part.stop, STRIP_ROWS):
            stop = min(start + STRIP_ROWS, part.stop)
            weights = self.query_weights[first + start : first + stop]
            common = shared_weight(weights, self.by_column)
            common /= 2 - common  # the rows sum to 1: their union is 2 minus what they share
            common *= 1 - self.weight
            distances[start:stop] -= common.reshape(stop - start, -1)


def describe(features: np.ndarray, index: np.ndarray, farthest: np.ndarray, k1: int) -> "csr_array":
    """Return each item's weights over its expanded k-reciprocal neighbours: [N, N] sparse.

    Weights are exp(−d), d the squared distance over the row's largest, and sum to 1.
    """
    from scipy.sparse import csr_array

    near = reciprocal(index, k1 + 1)
    half = reciprocal(index, int(np.around(k1 / 2)) + 1)
    common = (near @ half.T).multiply(near).tocsr()  # |R(i) ∩ R½(c)| on the edges (i, c)
    size = np.diff(half.indptr)
    common.data = (3 * common.data > 2 * size[common.indices]).astype(np.int32)
    common.eliminate_zeros()
    edges = (near + common @ half).tocsr()
    edges.sort_indices()
    row, column = rows_of(edges), edges.indices
    distance = np.maximum(2 - 2 * pair_products(features, row, column), 0) / farthest[row]
    weights = np.exp(-distance)
    total = np.add.reduceat(weights, edges.indptr[:-1])  # every row has its own edge
    return csr_array((weights / total[row], column, edges.indptr), shape=edges.shape)


def reciprocal(index: np.ndarray, k: int) -> "csr_array":
    """Return the edges i → j, of each row's first k, whose j lists i in its first k: [N, N] 0/1."""
    from scipy.sparse import csr_array

    index = index[:, :k]
    N, k = index.shape
    listed = csr_array(
        (np.ones(N * k, np.int32), index.ravel().astype(np.int32), np.arange(0, N * k + 1, k)),
        shape=(N, N),
    )
    return listed.multiply(listed.T).tocsr()


def expanded(weights: "csr_array", index: np.ndarray, k2: int) -> "csr_array":
    """Return each item's weights averaged over its k2 nearest, itself included (Eq. 11)."""
    from scipy.sparse import csr_array

    near = index[:, :k2]
    N, k2 = near.shape
    if k2 == 1:
        return weights
    mean = csr_array(
        (
            np.full(N * k2, 1 / k2, np.float32),
            near.ravel().astype(np.int32),
            np.arange(0, N * k2 + 1, k2),
        ),
        shape=(N, N),
    )
    return (mean @ weights).tocsr()


def shared_weight(query: "csr_array", by_column: "csc_array") -> np.ndarray:
    """Return Σ min(a, b) over the columns of each query row and each gallery row: [B * G] float64.

    query: [B, N] weights as CSR; by_column: the gallery's [G, N] weights as CSC.
    """
    G = by_column.shape[0]
    starts, ends = by_column.indptr[query.indices], by_column.indptr[query.indices + 1]
    counts = (ends - starts).astype(np.int64)
    first = np.cumsum(counts) - counts
    place = np.arange(counts.sum()) + np.repeat(starts - first, counts)
    pair = np.repeat(rows_of(query).astype(np.int64) * G, counts)
    pair += by_column.indices[place]
    smaller = np.minimum(np.repeat(query.data, counts), by_column.data[place])
    return np.bincount(pair, weights=smaller, minlength=query.shape[0] * G)


def largest_distance(least: np.ndarray) -> np.ndarray:
    """Return the squared distance of each item to its least similar: [N], never 0."""
    largest = 2 - 2 * least
    return np.where(largest > 0, largest, 1).astype(np.float32)


def pair_products(features: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return the inner products of pairs of rows of [N, d]: [P]."""
    products = np.empty(len(row), np.float32)

    def multiply(part: slice) -> None:
        for start in range(part.start, part.stop, PAIR_BLOCK):
            pairs = slice(start, min(start + PAIR_BLOCK, part.stop))
            near, far = features[row[pairs]], features[column[pairs]]
            np.einsum("pd,pd->p", near, far, out=products[pairs])

    in_threads(multiply, len(row))
    return products


def rows_of(matrix: Any) -> np.ndarray:
    """Return the row of every stored entry of a CSR matrix."""
    return np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))


def joined(query: Any, gallery: Any) -> np.ndarray:
    """Return both sets' unit rows as one array, the queries first."""
    q = unit_rows(features_of(query), "query")
    g = unit_rows(features_of(gallery), "gallery")
    if not len(q) or not len(g):
        raise BadInput(f"re-ranking {len(q)} queries over {len(g)} gallery items: both are needed")
    if q.shape[1] != g.shape[1]:
        raise BadInput(
            f"the query's embeddings are {q.shape[1]} wide, the gallery's {g.shape[1]}; "
            "one network makes one width"
        )
    return np.concatenate([q, g])


def features_of(items: Any) -> Any:
    """Return the features of Embeddings, or the array itself."""
    return items.features if isinstance(items, Embeddings) else items


def check_settings(k1: int, k2: int, weight: float) -> None:
    """Raise BadInput for settings outside their range."""
    if k1 < 1 or k2 < 1:
        raise BadInput(f"k1 is {k1} and k2 {k2}; both must be at least 1")
    if not 0 <= weight <= 1:
        raise BadInput(f"the weight of the original distance is {weight}; 0 to 1 is wanted")
