"""Which gallery items count for a query, and at which ranks its true matches stand."""

from typing import NamedTuple

import numpy as np

from ..embeddings import Embeddings

SORT_FROM = 96  # matches of one query from which one sort is cheaper than counting for each


class Labels(NamedTuple):
    """The identities [Q] and cameras [Q] of queries."""

    pids: np.ndarray
    camids: np.ndarray


class Matches:
    """Which gallery items are a query's true matches, and which are skipped."""

    def __init__(self, query: Embeddings | Labels, pids: np.ndarray, *, camids: np.ndarray) -> None:
        self.query_pids, self.query_camids = query.pids, query.camids
        self.pids, self.camids = pids, camids
        self.order = np.argsort(pids, kind="stable")
        ordered = pids[self.order]
        self.first = np.searchsorted(ordered, query.pids, side="left")
        self.last = np.searchsorted(ordered, query.pids, side="right")

    def any_valid(self) -> bool:
        """Return whether some query has a true match."""
        return any(len(self.of(query)[0]) for query in range(len(self.first)))

    def of(self, query: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the gallery rows of a query's true matches and those of its own camera."""
        same = self.order[self.first[query] : self.last[query]]
        camera = self.query_camids[query]
        own = (self.camids[same] == camera) & (camera >= 0)
        return same[~own & (self.query_pids[query] >= 0)], same[own]

    def ranks_of_rows(self, part: slice, *, first: int, nearness: np.ndarray) -> list[np.ndarray]:
        """Return `ranks` of some rows of a block [B, G] that begins with the query `first`."""
        return [self.ranks(first + row, nearness[row]) for row in range(part.start, part.stop)]

    def ranks(self, query: int, nearness: np.ndarray) -> np.ndarray:
        """Return the ranks, from 1 and ascending, of a query's true matches in its row [G]."""
        matches, skipped = self.of(query)
        if not len(matches):
            return np.empty(0, np.int64)
        before = count_before(nearness, matches)
        if len(skipped):
            at, value = nearness[matches][:, None], nearness[skipped]  # [m, 1], [s]
            ahead = (value > at) | ((value == at) & (skipped < matches[:, None]))
            before -= ahead.sum(axis=1)
        before.sort()
        return before + 1


def count_before(nearness: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return how many of the row [G] stand before each item: nearer, or as near and earlier."""
    values = nearness[items]
    if len(items) < SORT_FROM:
        return np.array(
            [
                np.count_nonzero(nearness[:item] >= value)
                + np.count_nonzero(nearness[item:] > value)
                for item, value in zip(items.tolist(), values, strict=True)
            ],
            np.int64,
        )
    ordered = np.sort(nearness)
    before = len(nearness) - np.searchsorted(ordered, values, side="right")
    tied = np.searchsorted(ordered, values, side="left") + 1 < len(nearness) - before
    for number in np.flatnonzero(tied):
        before[number] += np.count_nonzero(nearness[: items[number]] == values[number])
    return before


def no_valid_query(pairs: Matches) -> str:
    """Return why no query can be scored."""
    shared = int((pairs.last > pairs.first).sum())
    queries = len(pairs.query_pids)
    if shared:
        return (
            f"none of the {queries} queries can be scored: every gallery item of their identities "
            "is of the query's own camera, which the protocol skips; check the camera ids, or set "
            "them all to -1 if cameras are not known"
        )
    return (
        f"none of the {queries} queries can be scored: no identity of theirs is in the gallery; "
        "check that both were read with the same identity numbers"
    )
