"""Jaccard distances between items described by weighted neighbours, all of it sparse."""

from functools import partial

import numpy as np
from scipy.sparse import csc_array, csr_array

from ...embeddings import row_blocks
from ...neighbours.exact import in_threads
from ...neighbours.reciprocity import reciprocal

PAIR_BLOCK = 1 << 12  # pairs of rows multiplied while they are in the cache
STRIP_ROWS = 32  # queries whose Jaccard distances are found at once


class JaccardDistances:
    """Jaccard distances mixed with original ones, a block of query rows at a time.

    query, gallery: [Q, d] and [G, d] unit rows.
    query_weights, gallery_weights: [Q, C] and [G, C] sparse, each item's weights over its
        neighbours; an item's sum to 1, with what it has in columns that no gallery item shares.
    largest: [Q] each query's largest squared distance to any, by which its own are divided.
    weight:  share of the original distance (λ).
    """

    def __init__(
        self,
        query: np.ndarray,
        gallery: np.ndarray,
        *,
        query_weights: csr_array,
        gallery_weights: csr_array,
        largest: np.ndarray,
        weight: float,
    ) -> None:
        self.shape = (len(query), len(gallery))
        self.query, self.gallery = query, gallery
        self.query_weights, self.by_column = query_weights, gallery_weights.tocsc()
        self.scale = (weight / largest).astype(np.float32)
        self.weight = weight

    @staticmethod
    def of_set(
        rows: np.ndarray,
        weights: csr_array,
        *,
        sides: tuple[slice, slice],
        largest: np.ndarray,
        weight: float,
    ) -> "JaccardDistances":
        """Return the distances within one set [N, d]; sides: the queries' rows, the gallery's."""
        queries, gallery = sides
        return JaccardDistances(
            rows[queries],
            rows[gallery],
            query_weights=weights[queries],
            gallery_weights=weights[gallery],
            largest=largest[queries],
            weight=weight,
        )

    def rows(self, block: slice) -> np.ndarray:
        """Return the distances [B, G] float32 of the queries in one slice."""
        distances = self.query[block] @ self.gallery.T  # [B, d] x [d, G] -> [B, G]
        first = block.indices(self.shape[0])[0]
        in_threads(partial(self._mix, distances, first), len(distances))
        return distances

    def _mix(self, distances: np.ndarray, first: int, part: slice) -> None:
        """Turn some rows of similarities into the mixed distances, in place."""
        for rows in row_blocks(part, STRIP_ROWS):
            strip, queries = distances[rows], slice(first + rows.start, first + rows.stop)
            strip *= -2
            strip += 2
            np.maximum(strip, 0, out=strip)
            strip *= self.scale[queries, None]
            common = shared_weight(self.query_weights[queries], self.by_column)
            common /= 2 - common  # both sum to 1: their union is 2 minus what they share
            common *= 1 - self.weight
            strip += 1 - self.weight
            strip -= common.reshape(strip.shape)


def shared_weight(query: csr_array, by_column: csc_array) -> np.ndarray:
    """Return Σ min(a, b) over the columns of each query row and each gallery row: [B * G] float64.

    query: [B, N] weights as CSR; by_column: the gallery's [G, N] weights as CSC.
    """
    G = by_column.shape[0]
    starts, ends = by_column.indptr[query.indices], by_column.indptr[query.indices + 1]
    counts = (ends - starts).astype(np.int64)
    first = np.cumsum(counts) - counts
    entry = np.arange(counts.sum()) + np.repeat(starts - first, counts)
    pair = np.repeat(rows_of(query).astype(np.int64) * G, counts)
    pair += by_column.indices[entry]
    smaller = np.minimum(np.repeat(query.data, counts), by_column.data[entry])
    # of nothing, bincount makes integers whatever the weights are
    return np.bincount(pair, weights=smaller, minlength=query.shape[0] * G).astype(np.float64)


def neighbour_weights(features: np.ndarray, edges: csr_array, *, largest: np.ndarray) -> csr_array:
    """Return exp(−d) on the edges, each row summing to 1; d as in `JaccardDistances`."""
    edges.sort_indices()
    row, column = rows_of(edges), edges.indices
    distance = np.maximum(2 - 2 * pair_products(features, row, column=column), 0) / largest[row]
    weights = np.exp(-distance)
    total = np.add.reduceat(weights, edges.indptr[:-1])  # every row has its own edge
    return csr_array((weights / total[row], column, edges.indptr), shape=edges.shape)


def reciprocal_matrix(index: np.ndarray) -> csr_array:
    """Return the edges i → j of lists [N, k] whose j lists i too: [N, N] of ones."""
    return list_matrix(np.where(reciprocal(index), index, -1), np.int32(1))


def list_matrix(index: np.ndarray, value: np.generic, *, columns: int = 0) -> csr_array:
    """Return lists [N, k] as a sparse matrix that holds `value` where i lists j; -1 lists none.

    columns: how many rows can be listed; 0: as many as there are lists.
    """
    listed = index >= 0
    ends = np.concatenate([[0], np.cumsum(listed.sum(axis=1))])
    column = index[listed].astype(np.int32)
    return csr_array(
        (np.full(len(column), value), column, ends), shape=(len(index), columns or len(index))
    )


def averaged(weights: csr_array, index: np.ndarray) -> csr_array:
    """Return the mean of the weights of the items that each row of lists [N, k2] names."""
    if index.shape[1] == 1 and (index[:, 0] == np.arange(len(index))).all():
        return weights
    total = (list_matrix(index, np.float32(1)) @ weights).tocsr()
    named = np.maximum((index >= 0).sum(axis=1), 1).astype(np.float32)
    total.data /= np.repeat(named, np.diff(total.indptr))
    return total


def largest_distance(least: np.ndarray) -> np.ndarray:
    """Return the squared distance of each item to its least similar: [N], never 0."""
    largest = 2 - 2 * least
    return np.where(largest > 0, largest, 1).astype(np.float32)


def pair_products(features: np.ndarray, row: np.ndarray, *, column: np.ndarray) -> np.ndarray:
    """Return the inner products of pairs of rows of [N, d]: [P]."""
    products = np.empty(len(row), np.float32)

    def multiply(part: slice) -> None:
        for pairs in row_blocks(part, PAIR_BLOCK):
            near, far = features[row[pairs]], features[column[pairs]]
            np.einsum("pd,pd->p", near, far, out=products[pairs])

    in_threads(multiply, len(row))
    return products


def rows_of(matrix: csr_array) -> np.ndarray:
    """Return the row of every stored entry of a CSR matrix."""
    return np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
