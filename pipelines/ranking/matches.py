"""Which gallery items count for a query, and at which ranks its true matches stand."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ..embeddings import Embeddings
from ..labels import JUNK
from .rules import MARKET1501, Rules, Skip

SORT_FROM = 96  # matches of one query from which one sort is cheaper than counting for each


class Labels(NamedTuple):
    """The identities [N], cameras [N], names and further labels of items, without features."""

    pids: np.ndarray
    camids: np.ndarray
    names: Sequence[str] = ()
    columns: Mapping[str, np.ndarray] = MappingProxyType({})

    @staticmethod
    def of(items: Embeddings, rows: np.ndarray) -> "Labels":
        """Return the labels of some rows."""
        if len(rows) == len(items):
            return Labels(items.pids, items.camids, items.names, items.columns)
        names = [items.names[row] for row in rows.tolist()]
        columns = {name: values[rows] for name, values in items.columns.items()}
        return Labels(items.pids[rows], items.camids[rows], names, columns)


class Matches:
    """Which gallery items are a query's true matches, and which the rules skip."""

    def __init__(
        self, query: Embeddings | Labels, gallery: Embeddings | Labels, *, rules: Rules = MARKET1501
    ) -> None:
        self.rules, self.query_pids, self.pids = rules, query.pids, gallery.pids
        named = {label for skip in rules.skips for label in (*skip.same, *skip.other)}
        self.labels = {name: _values(name, query, gallery=gallery) for name in sorted(named)}
        self.people = Equal(query.pids, gallery.pids)
        self.apart = {  # of skips that go by something else than the identity
            skip: _candidates(skip, query, gallery=gallery, labels=self.labels)
            for skip in rules.skips
            if "pid" not in skip.same
        }
        self.camids = query.camids, gallery.camids

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.query_pids)

    def any_valid(self) -> bool:
        """Return whether some query has a true match."""
        return any(len(self.of(query)[0]) for query in range(len(self)))

    def of(self, query: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the gallery rows of a query's true matches, and those that are skipped."""
        same = self.people.rows(query)
        out = np.zeros(len(same), bool)
        elsewhere = []
        for skip in self.rules.skips:
            if skip not in self.apart:
                out |= self._holds(skip, query, rows=same)
            else:
                rows = self.apart[skip].rows(query)
                elsewhere.append(rows[self._holds(skip, query, rows=rows)])
        skipped = same[out]
        if elsewhere:
            skipped = np.unique(np.concatenate([skipped, *elsewhere]))
            out |= np.isin(same, skipped)
        return same[~out & (self.query_pids[query] >= 0)], skipped

    def _holds(self, skip: Skip, query: int, *, rows: np.ndarray) -> np.ndarray:
        """Return for which of some gallery rows a skip's labels agree and differ: [rows] bool."""
        holds = np.ones(len(rows), bool)
        for label in skip.same:
            if label != "pid":
                own, theirs = self.labels[label][0][query], self.labels[label][1][rows]
                holds &= (theirs == own) & (own >= 0)
        for label in skip.other:
            own, theirs = self.labels[label][0][query], self.labels[label][1][rows]
            holds &= (theirs != own) & (theirs >= 0) & (own >= 0)
        if skip.cameras is not None:
            mine, other = skip.cameras
            holds &= (self.camids[0][query] == mine) & (self.camids[1][rows] == other)
        return holds

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

    def before(self, query: int, item: int, *, nearness: np.ndarray) -> np.ndarray:
        """Return which of the row [G] stand before an item and are not skipped: [G] bool."""
        ahead: np.ndarray = nearness > nearness[item]
        ahead[:item] |= nearness[:item] == nearness[item]
        ahead[self.of(query)[1]] = False
        return ahead


class Equal:
    """Finds the rows of one array [N] that equal each value of another [Q]."""

    def __init__(self, wanted: np.ndarray, values: np.ndarray) -> None:
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        self.first = np.searchsorted(ordered, wanted, side="left")
        self.last = np.searchsorted(ordered, wanted, side="right")

    def rows(self, number: int) -> np.ndarray:
        """Return the rows that equal one value, ascending."""
        found: np.ndarray = self.order[self.first[number] : self.last[number]]
        return found


def _values(label: str, query: Any, *, gallery: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return a label of both sides as numbers, alike where they agree."""
    if label in ("pid", "camid"):
        return getattr(query, f"{label}s"), getattr(gallery, f"{label}s")
    if label != "name":
        return query.columns[label], gallery.columns[label]
    numbers = {name: number for number, name in enumerate(gallery.names)}
    asked = [numbers.get(name, JUNK) for name in query.names]
    return np.array(asked, np.int64), np.array([numbers[name] for name in gallery.names], np.int64)


def _candidates(
    skip: Skip, query: Any, *, gallery: Any, labels: dict[str, tuple[np.ndarray, np.ndarray]]
) -> Equal:
    """Return an index of the gallery rows that a skip may be true of, for each query."""
    if skip.same:
        return Equal(*labels[skip.same[0]])
    assert skip.cameras is not None  # a skip goes by something
    return Equal(np.full(len(query.pids), skip.cameras[1]), gallery.camids)


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
    shared = int((pairs.people.last > pairs.people.first).sum())
    queries = len(pairs)
    if shared and pairs.rules.name != MARKET1501.name:
        return (
            f"none of the {queries} queries can be scored: the rules {pairs.rules.name} skip every "
            f"gallery item of their identities ({pairs.rules.title}); --rules names others"
        )
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
