"""Neighbour pairs -> a dendrogram: average linkage, and single linkage (connected components)."""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import minimum_spanning_tree

from ..embeddings import row_blocks
from .constraints import Constraints
from .dendrogram import Dendrogram
from .pairs import Pairs

BLOCK_PAIRS = 16_384  # pairs of clusters whose sums are multiplied at once


def average_linkage(
    rows: np.ndarray, pairs: Pairs, *, constraints: Constraints, least: float = -1.0
) -> Dendrogram:
    """Merge the most similar clusters first, by the mean cosine of all their pairs of rows.

    Clusters are compared where the graph lists a pair of their rows. Unit rows make the mean exact
    and cheap: it is the product of the clusters' sums over their sizes. All pairs of clusters that
    are each other's most similar merge in one round, which for average linkage gives what merging
    one pair after the other gives (Murtagh, 1983); a merge never counts as more similar than those
    below it. With every pair listed this is average linkage as scipy.cluster.hierarchy computes it.

    rows:  [N, d] float32 of length 1.   least: similarity below which nothing merges.
    """
    state = _Clusters(rows, pairs, constraints=constraints)
    merges = list(constraints.merges())
    for first, second, _ in merges:
        state.merge(first, second)
    while len(state.first):
        chosen = state.best(least)
        if not len(chosen):
            break
        first, second = state.first[chosen], state.second[chosen]
        similarity = np.minimum(state.similarity[chosen], state.lowest[first])
        similarity = np.minimum(similarity, state.lowest[second])
        merges.append((first, second, similarity))
        state.lowest[first] = similarity
        state.merge(first, second)
    return joined(len(rows), merges)


class _Clusters:
    """Clusters by their lowest row: sums of rows, sizes, and the pairs that may merge."""

    def __init__(self, rows: np.ndarray, pairs: Pairs, *, constraints: Constraints) -> None:
        self.sums, self.size = rows.copy(), np.ones(len(rows), np.float32)
        self.lowest = np.full(len(rows), np.inf, np.float32)  # similarity of a cluster's last merge
        self.constraints = constraints.open()
        self.first, self.second, self.similarity = pairs.first, pairs.second, pairs.similarity
        self._drop_forbidden()

    def best(self, least: float) -> np.ndarray:
        """Return the pairs that are each other's most similar, no cluster in two of them."""
        best = np.full(len(self.size), -np.inf, np.float32)
        np.maximum.at(best, self.first, self.similarity)
        np.maximum.at(best, self.second, self.similarity)
        equal = (self.similarity == best[self.first]) & (self.similarity == best[self.second])
        chosen = np.flatnonzero(equal & (self.similarity >= least))
        earliest = np.full(len(self.size), len(self.first))  # of equal ones
        for ends in (self.first, self.second):
            np.minimum.at(earliest, ends[chosen], chosen)
        alone = earliest[self.first[chosen]] == chosen
        return chosen[alone & (earliest[self.second[chosen]] == chosen)]

    def merge(self, first: np.ndarray, second: np.ndarray) -> None:
        """Put each `second` into its `first`, which is lower; no cluster stands twice."""
        self.sums[first] += self.sums[second]
        self.size[first] += self.size[second]
        self.constraints.merge(first, second)
        place, changed = np.arange(len(self.size)), np.zeros(len(self.size), bool)
        place[second], changed[first] = first, True
        one, other = place[self.first], place[self.second]
        first, second = np.minimum(one, other), np.maximum(one, other)
        keys, places = np.unique(first * len(self.size) + second, return_index=True)
        places = places[keys // len(self.size) != keys % len(self.size)]
        self.first, self.second = first[places], second[places]
        self.similarity = self.similarity[places]
        self._drop_forbidden()
        stale = np.flatnonzero(changed[self.first] | changed[self.second])
        self.similarity[stale] = self._means(self.first[stale], self.second[stale])

    def _means(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the mean cosine of pairs of clusters [E]."""
        found = np.empty(len(first), np.float32)
        for part in row_blocks(len(first), BLOCK_PAIRS):
            one, other = self.sums[first[part]], self.sums[second[part]]  # [b, d]
            found[part] = np.einsum("bd,bd->b", one, other)
        return found / (self.size[first] * self.size[second])

    def _drop_forbidden(self) -> None:
        keep = ~self.constraints.forbidden(self.first, self.second)
        if not keep.all():
            self.first, self.second = self.first[keep], self.second[keep]
            self.similarity = self.similarity[keep]


def joined(rows: int, merges: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Dendrogram:
    """Return rounds of merges as one dendrogram."""
    empty = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    return Dendrogram(rows, *(np.concatenate(part) for part in zip(empty, *merges, strict=True)))


def single_linkage(pairs: Pairs, *, constraints: Constraints) -> Dendrogram:
    """Merge along the most similar pairs first: a cut is the connected components of its pairs.

    Of pairs without constraints these are the maximum spanning forest's.
    """
    if not constraints:
        return _spanning_forest(pairs)
    parent, held = np.arange(pairs.rows), _groups_by_row(constraints)

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return int(row)

    merges: list[tuple[int, int, float]] = []

    def merge(first: int, second: int, *, at: float) -> None:
        one, other = sorted((root(first), root(second)))
        if one != other and not held.get(one, frozenset()) & held.get(other, frozenset()):
            parent[other] = one
            if other in held:
                held[one] = held.get(one, frozenset()) | held.pop(other)
            merges.append((one, other, at))

    for first, second in zip(constraints.first.tolist(), constraints.second.tolist(), strict=True):
        merge(first, second, at=np.inf)
    order = np.argsort(-pairs.similarity, kind="stable")
    ends = zip(pairs.first[order].tolist(), pairs.second[order].tolist(), strict=True)
    for (first, second), similarity in zip(ends, pairs.similarity[order].tolist(), strict=True):
        merge(first, second, at=similarity)
    columns = list(zip(*merges, strict=True)) or [(), (), ()]
    first, second = (np.array(column, np.int64) for column in columns[:2])
    return Dendrogram(pairs.rows, first, second, np.array(columns[2], np.float32))


def _spanning_forest(pairs: Pairs) -> Dendrogram:
    weights = 2.0 - pairs.similarity.astype(np.float64)  # 0 would be no edge
    graph = csr_array((weights, (pairs.first, pairs.second)), shape=(pairs.rows, pairs.rows))
    tree = minimum_spanning_tree(graph).tocoo()
    first, second = tree.coords
    similarity = (2.0 - tree.data).astype(np.float32)
    return Dendrogram(pairs.rows, first.astype(np.int64), second.astype(np.int64), similarity)


def _groups_by_row(constraints: Constraints) -> dict[int, frozenset[int]]:
    held: dict[int, set[int]] = {}
    for row, group in zip(constraints.apart.tolist(), constraints.group.tolist(), strict=True):
        held.setdefault(row, set()).add(group)
    return {row: frozenset(groups) for row, groups in held.items()}
