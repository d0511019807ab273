"""Nearest neighbours of rows in parts, exact or by inverted lists."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..embeddings import row_blocks
from ..neighbours.candidates import CandidateLists
from ..neighbours.exact import Room, decide, largest_keys, unpack
from ..neighbours.faiss_indexes import list_count
from ..neighbours.ivf import (
    candidates_kept,
    in_lists,
    lists_needed,
    look_through,
    nearest_centres,
    rounded_product,
    sampled,
)
from ..neighbours.nearest import APPROXIMATE, choose, cluster_centres
from ..seeding import numpy_generator
from .parts import Arrays, Parts, Steps

PIECE = 1 << 16  # rows that are compared with at once
TRAINED = 64  # rows a centre that k-means looks at


@dataclass(frozen=True)
class Lists:
    """Some rows by the nearest of some centres; each array is one part.

    centres: [C, d].   members: [M] int64, places of rows, list after list.   sizes: [C].
    probes:  [1], how many lists a row looks through.
    """

    centres: Parts
    members: Parts
    sizes: Parts
    probes: Parts

    def of_each(self) -> list[np.ndarray]:
        """Return the places in each list, ascending."""
        return np.split(self.members.only, np.cumsum(self.sizes.only)[:-1])


@dataclass(frozen=True)
class Columns:
    """What rows are compared with: all rows of an array, or some, such as those of a camera.

    members: [M] int64, the rows' numbers, ascending, as one part; None: all.
    lists:   where the search is approximate.
    own:     [N, k] int64, where these rows' own nearest among themselves were found before.
    """

    rows: Parts
    members: Parts | None = None
    lists: Lists | None = None
    own: Parts | None = None

    def __len__(self) -> int:
        """Return the number M of these rows."""
        return len(self.rows) if self.members is None else len(self.members.only)

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        """Return rows by their places among these: [m] int64 -> [m, d]."""
        return self.rows[self.numbers(places)]

    def numbers(self, places: np.ndarray) -> np.ndarray:
        """Return the numbers in the array of rows at places among these."""
        return places if self.members is None else self.members.only[places]

    def within(self, part: int) -> np.ndarray:
        """Return those of these rows that are in a part."""
        if self.members is None:
            return self.rows.part(part)
        members, here = self.members.only, self.rows.rows_of(part)
        first, last = np.searchsorted(members, [here.start, here.stop])
        return self.rows[members[first:last]]

    def pieces(self) -> Iterator[np.ndarray]:
        """Yield these rows, in order, in blocks that are worth a product."""
        waiting: list[np.ndarray] = []
        for part in range(len(self.rows.paths)):
            rows = self.within(part)
            for some in row_blocks(len(rows), PIECE):
                waiting.append(rows[some])
                if sum(map(len, waiting)) >= PIECE:
                    yield np.concatenate(waiting)
                    waiting = []
        if waiting:
            yield np.concatenate(waiting)

    def nearest_of_part(self, part: int, k: int) -> np.ndarray:
        """Return the numbers of the k nearest of each row of a part, as `nearest`: [n, k]."""
        if self.own is not None:
            return np.array(self.own.part(part)[:, :k])
        return self.nearest(self.rows.part(part), k)

    def nearest(self, own: np.ndarray, k: int) -> np.ndarray:
        """Return the numbers of the k nearest of each unit row [n, d], ties by number: [n, k].

        Where there are fewer than k, all of them.
        """
        k = min(k, len(self))
        if self.lists is None:
            return self.numbers(nearest_of_all(own, self.pieces(), k=k))
        return self.numbers(nearest_in_lists(own, self, lists=self.lists, k=k))


def nearest_of_all(own: np.ndarray, pieces: Iterator[np.ndarray], *, k: int) -> np.ndarray:
    """Return the places of the k largest inner products of each row with rows that come in pieces.

    own: [n, d].   pieces: [m, d] each, in order.   returns: [n, k] int64, largest first.
    """
    best, first = np.empty((len(own), 0), np.uint64), 0
    for piece in pieces:
        room = Room(len(piece), rows=len(own))
        keys = [
            largest_keys(room.product(own[some], piece), min(k, len(piece)), first_column=first)
            for some in row_blocks(len(own), room.rows)
        ]
        best = np.sort(np.concatenate([best, np.concatenate(keys)], axis=1), axis=1)[:, :k]
        first += len(piece)
    return unpack(best)[1]


def nearest_in_lists(own: np.ndarray, columns: Columns, *, lists: Lists, k: int) -> np.ndarray:
    """Return nearly the places of the k nearest of each unit row [n, d], by lists: [n, k]."""
    near = nearest_centres(own, lists.centres.only, count=int(lists.probes.only[0]))
    found = CandidateLists(candidates_kept(k, len(columns)), len(own), wanted=k)
    look_through(found, near, members=lists.of_each(), product=rounded_product(own, columns))
    candidates = found.best()[1]
    used, place = np.unique(np.maximum(candidates, 0), return_inverse=True)
    here = np.where(candidates < 0, -1, place.reshape(candidates.shape))
    index: np.ndarray = used[decide(own, columns[used], candidates=here, k=k)[1] % len(used)]
    short = np.flatnonzero(candidates[:, k - 1] < 0)
    if len(short):
        index[short] = nearest_of_all(own[short], columns.pieces(), k=k)
    return index


def searchable(
    steps: Steps, columns: Columns, *, name: str, k: int, asking: int, method: str = "auto"
) -> Columns:
    """Return what `asking` rows search their k nearest in, with lists where that is approximate.

    name: of the columns, which their lists get too.   method: as for `search`.
    """
    if choose(method, rows=asking, columns=len(columns), where="cpu", k=k) not in APPROXIMATE:
        return columns
    one, rows = (1,), columns.rows
    centres = steps.run(
        train_centres, f"{name}-centres", gives=["centres"], ends=one, columns=columns
    )
    places = steps.run(
        place_in_lists, f"{name}-places", gives=["list_of"], ends=rows.ends, columns=columns,
        **centres,
    )  # fmt: skip
    made = steps.run(
        make_lists, f"{name}-lists", gives=["members", "sizes", "probes"], ends=one,
        columns=columns, k=k, **centres, **places,
    )  # fmt: skip
    return replace(columns, lists=Lists(**centres, **made))


def train_centres(part: int, *, columns: Columns) -> Arrays:
    """Find the centres of lists by k-means on some of the rows."""
    count = list_count(len(columns))
    some = min(len(columns), TRAINED * count)
    chosen = numpy_generator(0, "k-means").choice(len(columns), some, replace=False)
    return {"centres": cluster_centres(columns[np.sort(chosen)], count)}


def place_in_lists(part: int, *, columns: Columns, centres: Parts) -> Arrays:
    """Find the list of each row that is in a part."""
    rows = columns.within(part)
    return {"list_of": nearest_centres(rows, centres.only, count=1)[:, 0]}


def make_lists(part: int, *, columns: Columns, centres: Parts, list_of: Parts, k: int) -> Arrays:
    """Put the rows of each list together, and measure how many lists a row must look through."""
    every = np.concatenate(list(list_of))
    members = in_lists(every[:, None], len(centres.only))
    sample = sampled(columns)
    true = nearest_of_all(sample, columns.pieces(), k=min(k, len(columns)))
    probes = lists_needed(sample, true, centres=centres.only, list_of=every)
    return {
        "members": np.concatenate(members).astype(np.int64),
        "sizes": np.array([len(one) for one in members]),
        "probes": np.array([probes]),
    }
