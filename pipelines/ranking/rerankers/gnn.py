"""Re-ranking by comparing neighbourhoods that were spread over the graph (GNN re-ranking).

Zhang, Jiang, Zheng, Tan, Ding and Yang, "Understanding Image Retrieval Re-Ranking: A Graph Neural
Network Perspective" (arXiv 2012.07620). An item starts as its row of the k1-neighbour graph (one
where it lists, Eq. 4); each layer makes the graph's rows symmetric, sums the k2 nearest items' rows
with weight similarity^α (Eq. 6) and makes every row's length 1. Items are then compared by the
cosine of their rows.

Cost for N = Q + G: one exact neighbour search; then sparse products whose rows have about
k1 + k1 k2 … entries after two layers, some hundreds for k1 = 26, k2 = 7.
"""

import numpy as np
from scipy.sparse import csr_array

from ...embeddings import row_blocks
from ...neighbours.exact import in_threads
from ...neighbours.graph import Neighbourhoods
from .jaccard import list_matrix, rows_of

K1, K2 = 26, 7  # neighbours that an item starts as, and whose rows are summed; both with itself
ALPHA, LAYERS = 2.0, 2  # exponent of the similarity, and how often rows are summed
STRIP_ROWS = 32  # queries compared at once


class GraphDistances:
    """One minus the cosine of sparse rows, a block of query rows at a time."""

    def __init__(self, rows: csr_array, sides: tuple[slice, slice]) -> None:
        self.query = rows[sides[0]]
        self.gallery = rows[sides[1]].T.tocsr()  # [N, G]
        self.shape = (self.query.shape[0], self.gallery.shape[1])

    def rows(self, block: slice) -> np.ndarray:
        """Return the distances [B, G] float32 of the queries in one slice."""
        query = self.query[block]
        distances = np.empty((query.shape[0], self.shape[1]), np.float32)

        def compare(part: slice) -> None:
            for strip in row_blocks(part, STRIP_ROWS):
                np.subtract(1, (query[strip] @ self.gallery).toarray(), out=distances[strip])

        in_threads(compare, len(distances))
        return distances


def rank_by_graph(near: Neighbourhoods) -> GraphDistances:
    """Return the distances of neighbourhoods after some layers of spreading, a block at a time.

    Queries take part in each other's neighbourhoods: the protocol is `joint` by definition.
    """
    graph = near.joint(K1)
    spread = list_matrix(graph.index[:, :K2], np.float32(1))
    similarity = np.maximum(graph.similarity[:, :K2], 0)
    spread.data = (similarity**ALPHA).ravel().astype(np.float32)
    rows = list_matrix(graph.index[:, :K1], np.float32(1))
    for _ in range(LAYERS):
        rows = unit_length((spread @ (rows + rows.T)).tocsr())
    return GraphDistances(rows, near.sides)


def unit_length(rows: csr_array) -> csr_array:
    """Return sparse rows divided by their lengths."""
    row = rows_of(rows)
    length = np.sqrt(
        np.bincount(row, weights=rows.data**2, minlength=rows.shape[0]).astype(np.float64)
    )
    rows.data /= np.where(length > 0, length, 1)[row].astype(np.float32)
    return rows
