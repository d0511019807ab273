"""Keep the k best entries of every row while products come in by tiles, in bounded memory."""

from functools import partial
from typing import Protocol

import numpy as np

from ..progress import Progress
from .exact import blocks, in_threads, lower_bound, pack, unpack

SAMPLE = 16  # one column in so many gives the bounds
TILE_ROWS, TILE_COLUMNS = 512, 8192
STRIP_ROWS = 64  # of a tile, looked through while they are in the cache
NONE = np.iinfo(np.uint64).max


class Products(Protocol):
    """Inner products of a set's rows with each other, a tile at a time."""

    count: int

    def tile(self, across: slice, down: slice) -> np.ndarray:
        """Return the products [b, c] float32 of two ranges of rows; good until the next."""

    def with_sample(self, block: slice) -> np.ndarray:
        """Return the products of some rows with every SAMPLE-th row."""


def collect(
    products: Products, lists: "CandidateLists", *, least: bool, progress: Progress
) -> tuple["CandidateLists", np.ndarray | None]:
    """Fill the lists from every tile on and above the diagonal; and find the least products."""
    N = products.count
    lists.bound = bounds(products, lists.wanted)
    lowest = np.full(N, np.inf, np.float32) if least else None
    tiles = [
        (slice(i, min(i + TILE_ROWS, N)), slice(j, min(j + TILE_COLUMNS, N)))
        for i in range(0, N, TILE_ROWS)
        for j in range(i, N, TILE_COLUMNS)
    ]
    with progress.task("neighbours", len(tiles), unit="tiles") as task:
        for across, down in tiles:
            tile = products.tile(across, down)
            if lowest is not None:
                lower(lowest, tile, across=across, down=down)
            lists.offer(tile, across, down=down)
            task.advance()
    return lists, lowest


def bounds(products: Products, k: int) -> np.ndarray:
    """Return [N] values below which a row's k-th best seldom lies, from a sample of the columns.

    Of the k best, k / SAMPLE are expected in the sample; three deviations more leave less than
    one row in a hundred with too strict a bound.
    """
    width = -(-products.count // SAMPLE)
    expected = k / SAMPLE
    place = min(width, int(expected + 3 * np.sqrt(expected) + 1))
    bound = np.empty(products.count, np.float32)
    for block in blocks(products.count, width):
        found = products.with_sample(block)
        parts = in_threads(partial(bound_of_rows, products=found, place=place), len(found))
        bound[block] = np.concatenate(parts)
    return bound


def bound_of_rows(part: slice, *, products: np.ndarray, place: int) -> np.ndarray:
    """Return a lower bound of the `place`-th largest product of each row of a part."""
    return lower_bound(products[part], place)


def lower(lowest: np.ndarray, products: np.ndarray, *, across: slice, down: slice) -> None:
    """Lower each row's least product by what one tile holds, in place."""

    def minima(part: slice) -> tuple[np.ndarray, np.ndarray]:
        return products[part].min(axis=1), products[part].min(axis=0)

    by_row, by_column = zip(*in_threads(minima, len(products)), strict=True)
    lowest[across] = np.minimum(lowest[across], np.concatenate(by_row))
    for column in by_column:
        np.minimum(lowest[down], column, out=lowest[down])


class CandidateLists:
    """The best entries seen so far of every row, as packed keys in bounded space."""

    def __init__(self, k: int, rows: int, *, wanted: int = 0) -> None:
        """Make room for the k best of each row, of which `wanted` (or all) are needed."""
        self.k, self.wanted = k, wanted or k
        self.room = 6 * self.wanted + 32
        self.bound = np.full(rows, -np.inf, np.float32)
        self.keys = np.full((rows, self.room), NONE, np.uint64)
        self.count = np.zeros(rows, np.int64)

    def offer(self, products: np.ndarray, across: slice, *, down: slice) -> None:
        """Take from a tile [b, c] what reaches the bound of its row or of its column."""
        of_row, of_column = self.bound[across], self.bound[down]
        columns = products.shape[1]

        def reaching_bound(part: slice) -> np.ndarray:
            found = []
            for start in range(part.start, part.stop, STRIP_ROWS):
                strip = slice(start, min(start + STRIP_ROWS, part.stop))
                mask = products[strip] >= of_row[strip, None]
                mask |= products[strip] >= of_column
                found.append(np.flatnonzero(mask) + start * columns)
            return np.concatenate(found)

        flat = np.concatenate(in_threads(reaching_bound, len(products)))
        value = products.ravel()[flat]
        i, j = np.divmod(flat, columns)
        own = np.flatnonzero(value >= of_row[i])
        self.add(across.start + i[own], down.start + j[own], value=value[own])
        # A pair inside the diagonal square comes twice, and counts as its row's each time.
        other = np.flatnonzero((value >= of_column[j]) & (j >= across.stop - down.start))
        other = other[np.argsort(j[other], kind="stable")]
        self.add(down.start + j[other], across.start + i[other], value=value[other])

    def add(self, row: np.ndarray, column: np.ndarray, *, value: np.ndarray) -> None:
        """Append entries, given in ascending order of their rows, to those rows' lists."""
        keys = pack(value, column)
        starts = np.flatnonzero(np.diff(row, prepend=-1))
        rows, counts = row[starts], np.diff(starts, append=len(row))
        full = self.count[rows] + counts > self.room
        if full.any():
            self._keep_best(rows[full])
        crowded = self.count[rows] + counts > self.room
        for at in np.flatnonzero(crowded):  # many equal rows: seldom, so one by one
            self._merge(rows[at], keys[starts[at] : starts[at] + counts[at]])
        counts[crowded] = 0
        fits = (
            np.repeat(~crowded, np.diff(starts, append=len(row))) if crowded.any() else slice(None)
        )
        row, keys = row[fits], keys[fits]
        first = np.cumsum(counts) - counts
        place = np.arange(len(row)) + np.repeat(self.count[rows] - first, counts)
        self.keys[row, place] = keys
        self.count[rows] += counts

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the k best of every row, values and columns [N, k]; columns of -1 where fewer."""
        index = np.empty((len(self.keys), self.k), np.int64)
        similarity = np.empty((len(self.keys), self.k), np.float32)
        for block in blocks(len(self.keys), 2 * self.room):
            keys = np.sort(self.keys[block], axis=1)[:, : self.k]
            similarity[block], index[block] = unpack(keys)
        index[np.arange(self.k) >= self.count[:, None]] = -1
        return similarity, index

    def _keep_best(self, rows: np.ndarray) -> None:
        keys = np.sort(self.keys[rows], axis=1)
        keys[:, self.k :] = NONE
        self.keys[rows] = keys
        enough = self.count[rows] >= self.k
        self.bound[rows[enough]] = unpack(keys[enough, self.k - 1])[0]
        self.count[rows] = np.minimum(self.count[rows], self.k)

    def _merge(self, row: int, keys: np.ndarray) -> None:
        every = np.concatenate([self.keys[row, : self.count[row]], keys])
        every.sort()
        self.keys[row, : self.k] = every[: self.k]
        self.count[row] = self.k
        self.bound[row] = unpack(every[self.k - 1 : self.k])[0][0]
