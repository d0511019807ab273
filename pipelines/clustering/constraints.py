"""Who must be one identity, and who cannot be: pairs of rows, and rows of one frame."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_array

from ..errors import BadInput
from .dendrogram import grouped

NOBODY = np.empty(0, np.int64)
Round = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Constraints:
    """What a clustering of `rows` rows must keep to.

    first, second: [M] int64, pairs of rows of one identity.
    apart, group:  [P] int64, rows and their groups: no two rows of one group are one identity. A
                   pair that cannot be linked is a group of two, a frame is one of all its boxes.
    """

    rows: int
    first: np.ndarray = field(default_factory=NOBODY.copy)
    second: np.ndarray = field(default_factory=NOBODY.copy)
    apart: np.ndarray = field(default_factory=NOBODY.copy)
    group: np.ndarray = field(default_factory=NOBODY.copy)

    def __bool__(self) -> bool:
        return bool(len(self.first) or len(self.apart))

    def joined(self, other: "Constraints") -> "Constraints":
        """Return both constraints as one."""
        shifted = other.group + (self.group.max() + 1 if len(self.group) else 0)
        parts = {
            "first": (self.first, other.first),
            "second": (self.second, other.second),
            "apart": (self.apart, other.apart),
            "group": (self.group, shifted),
        }
        return Constraints(self.rows, **{name: np.concatenate(two) for name, two in parts.items()})

    def require_possible(self, names: Sequence[str]) -> None:
        """Raise BadInput where rows that must be one identity cannot be, with their names."""
        linked = grouped(self.first, self.second, rows=self.rows)[self.apart]
        order = np.lexsort((linked, self.group))
        same = np.diff(self.group[order], prepend=-1) == 0
        same &= np.diff(linked[order], prepend=-1) == 0
        if same.any():
            place = int(np.argmax(same))
            one, other = (names[int(self.apart[order[at]])] for at in (place - 1, place))
            raise BadInput(
                f"{one} and {other} must be one identity by one constraint, and cannot be by "
                "another; take one of the two out"
            )

    def merges(self) -> Iterator[Round]:
        """Yield the merges that must be, no cluster twice in one round, of similarity infinity."""
        if not len(self.first):
            return
        linked = grouped(self.first, self.second, rows=self.rows)
        order = np.argsort(linked, kind="stable")
        begins = np.flatnonzero(np.diff(linked[order], prepend=-1))
        sizes = np.diff(begins, append=self.rows)
        place = np.arange(self.rows) - np.repeat(begins, sizes)  # of each row in its component
        step = 1
        while (second := np.flatnonzero(place % (2 * step) == step)).size:
            first = second - step
            yield order[first], order[second], np.full(len(first), np.inf, np.float32)
            step *= 2

    def open(self) -> "OpenConstraints":
        """Return the groups of each cluster, every row a cluster of its own, to be merged."""
        return OpenConstraints(self)


class OpenConstraints:
    """Which clusters cannot merge, while clusters merge."""

    def __init__(self, constraints: Constraints) -> None:
        self.rows, self.group = constraints.apart, constraints.group
        groups = int(self.group.max()) + 1 if len(self.group) else 0
        self.shape = (constraints.rows, groups)
        self._fill()

    def forbidden(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return which pairs of clusters [E] hold two rows of one group."""
        found = np.zeros(len(first), bool)
        both = np.flatnonzero(self.held[first] & self.held[second])
        if len(both):
            shared = self.groups[first[both]].multiply(self.groups[second[both]])
            found[both] = shared.sum(axis=1) > 0
        return found

    def merge(self, first: np.ndarray, second: np.ndarray) -> None:
        """Give the groups of each `second` to its `first`."""
        if len(self.rows):
            place = np.arange(self.shape[0])
            place[second] = first
            self.rows = place[self.rows]
            self._fill()

    def _fill(self) -> None:
        values = np.ones(len(self.rows), np.int32)
        self.groups = csr_array((values, (self.rows, self.group)), shape=self.shape)
        self.held = np.zeros(self.shape[0], bool)
        self.held[self.rows] = True
