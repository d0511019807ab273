"""Keep the k best entries of every row while products come in by tiles, in bounded memory."""

from collections.abc import Iterator

import numpy as np

from ..device import native_bfloat16
from ..embeddings import row_blocks
from ..progress import Progress
from .exact import blocks, in_threads, lower_bounds, pack, unpack

SAMPLE = 16  # one column in so many gives the bounds
HALF_FROM = 50_000  # rows from which bfloat16 saves more than torch and deciding again cost
SUM_ROUNDING = 1e-4  # of products' float32 sums, generously
TILE_ROWS, TILE_COLUMNS = 512, 8192
STRIP_ROWS = 64  # of a tile, looked through while they are in the cache
NONE = np.iinfo(np.uint64).max


def worth_rounding(rows: int) -> bool:
    """Return whether products of so many rows are quicker taken in bfloat16, then decided."""
    return rows >= HALF_FROM and native_bfloat16()


class Products:
    """Inner products of a set's rows with each other, a tile at a time, in float32.

    sample: rows of which the set's bounds are found; None: one of its own in SAMPLE.
    most:   the distance by which rounding moves any row that is multiplied with.
    """

    def __init__(self, rows: np.ndarray, sample: np.ndarray | None = None) -> None:
        self.rows, self.count = rows, len(rows)
        self.sample = rows[::SAMPLE] if sample is None else sample
        self.most = 0.0
        self.room = np.empty(TILE_ROWS * TILE_COLUMNS, np.float32)

    def tile(self, across: slice, down: slice) -> np.ndarray:
        """Return the products [b, c] of two ranges of rows; good until the next."""
        b, c = across.stop - across.start, down.stop - down.start
        return np.matmul(self.rows[across], self.rows[down].T, out=self.room[: b * c].reshape(b, c))

    def with_sample(self, block: slice) -> np.ndarray:
        """Return the products of some rows with the sample: [b, S]."""
        return self.rows[block] @ self.sample.T

    def slack(self, value: np.ndarray) -> np.ndarray | float:
        """Return by how much products that come out as `value` [N] may be larger."""
        return SUM_ROUNDING

    def doubtful(self, last: np.ndarray, cut: np.ndarray) -> np.ndarray:
        """Return the rows whose k-th best [N] may be beaten by what came out as `cut` [N]."""
        return np.flatnonzero(~(last > cut + self.slack(cut)))


def collect(
    products: Products, lists: "CandidateLists", *, least: bool, progress: Progress
) -> np.ndarray | None:
    """Fill the lists from every tile on and above the diagonal; return the least products."""
    N = products.count
    lists.bound = bounds(products, lists.wanted, rows=N)
    lowest = np.full(N, np.inf, np.float32) if least else None
    tiles = list(tiles_between(slice(0, N), slice(0, N)))
    with progress.task("neighbours", len(tiles), unit="tiles") as task:
        for across, down in tiles:
            tile = products.tile(across, down)
            if lowest is not None:
                lower(lowest, tile, across=across, down=down)
            lists.offer(tile, across, down=down)
            task.advance()
    return lowest


def tiles_between(across: slice, down: slice) -> Iterator[tuple[slice, slice]]:
    """Yield tiles in which each pair of two ranges of rows comes.

    The second begins behind the first one's end, or is the same: then the tiles are those on and
    above its diagonal.
    """
    for some in row_blocks(across, TILE_ROWS):
        first = max(some.start, down.start)
        for others in row_blocks(slice(first, down.stop), TILE_COLUMNS):
            yield some, others


def bounds(products: Products, k: int, *, rows: int) -> np.ndarray:
    """Return [N] values below which a row's k-th best seldom lies, from a sample of the columns.

    rows: of the set that the sample is of.
    """
    width = len(products.sample)
    rank = sample_rank(k, sampled=width, rows=rows)
    parts = blocks(products.count, width)
    return np.concatenate([lower_bounds(products.with_sample(part), rank) for part in parts])


def sample_rank(k: int, *, sampled: int, rows: int) -> int:
    """Return the rank in a sample whose value seldom is above the k-th best of all rows.

    Of the k best, as many are expected in the sample as it has of all rows; three deviations more
    leave less than one row in a hundred with too strict a bound.
    """
    expected = k * sampled / rows
    return min(sampled, int(expected + 3 * np.sqrt(expected) + 1))


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
            for strip in row_blocks(part, STRIP_ROWS):
                mask = products[strip] >= of_row[strip, None]
                mask |= products[strip] >= of_column
                found.append(np.flatnonzero(mask) + strip.start * columns)
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
        if crowded.any():  # many equal rows: seldom, so one by one
            for at in np.flatnonzero(crowded):
                self._merge(rows[at], keys[starts[at] : starts[at] + counts[at]])
            fits = np.repeat(~crowded, counts)
            row, keys, counts = row[fits], keys[fits], np.where(crowded, 0, counts)
        first = np.cumsum(counts) - counts
        position = np.arange(len(row)) + np.repeat(self.count[rows] - first, counts)
        self.keys[row, position] = keys
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
