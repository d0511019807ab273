"""Exact nearest rows on the CPU: blocked matrix products, and a selection that never sorts a row.

The k-th largest of a row's group maxima is a lower bound of its k-th largest value, and nearly a
tight one: two vector passes over a row leave little more than k candidates to sort.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import TypeVar

import numpy as np

from ..device import cores
from ..progress import Progress, Silent

BLOCK_BYTES = 32 << 20  # of one block of similarities
SEARCHED_BLOCKS = 2  # such blocks are searched at once: fewer calls, and still much in the cache
BLOCK_COLUMNS = 1 << 17  # a longer gallery is searched in pieces, and their lists merged
GROUPS = 512  # group maxima kept of a row, where k allows
DECIDED_ROWS = 16  # whose candidates are multiplied while they are in the cache
T = TypeVar("T")


def top_k(
    query: np.ndarray, gallery: np.ndarray, *, k: int, progress: Progress | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k largest inner products of each query row, largest first, ties by index.

    query: [Q, d] float32. gallery: [G, d] float32, 1 <= k <= G.
    returns: similarity [Q, k] float32, index [Q, k] int64.
    """
    similarity = np.empty((len(query), k), np.float32)
    index = np.empty((len(query), k), np.int64)
    room = Room(min(len(gallery), BLOCK_COLUMNS), rows=len(query))
    with (progress or Silent()).task("search", len(query), unit="rows") as task:
        for start in range(0, len(query), room.rows):
            block = slice(start, start + room.rows)
            similarity[block], index[block] = _top_k_of_block(query[block], gallery, k=k, room=room)
            task.advance(len(query[block]))
    return similarity, index


class Room:
    """Memory for one block of similarities, used again for every block: new pages cost time."""

    def __init__(self, columns: int, *, rows: int) -> None:
        self.rows = max(1, min(SEARCHED_BLOCKS * block_rows(columns), rows))
        self.memory = np.empty(self.rows * columns, np.float32)

    def product(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Return the inner products [B, C] of rows [B, d] and [C, d]; good until the next."""
        out = self.memory[: len(rows) * len(others)].reshape(len(rows), len(others))
        return np.matmul(rows, others.T, out=out)


def _top_k_of_block(
    query: np.ndarray, gallery: np.ndarray, *, k: int, room: Room
) -> tuple[np.ndarray, np.ndarray]:
    keys = []
    for first in range(0, len(gallery), BLOCK_COLUMNS):
        piece = gallery[first : first + BLOCK_COLUMNS]
        products = room.product(query, piece)
        select = partial(_keys_of_rows, products=products, k=min(k, len(piece)), first_column=first)
        keys.append(np.concatenate(in_threads(select, len(products))))
    merged = keys[0] if len(keys) == 1 else np.sort(np.concatenate(keys, axis=1), axis=1)
    return unpack(merged[:, :k])


def _keys_of_rows(part: slice, *, products: np.ndarray, k: int, first_column: int) -> np.ndarray:
    return largest_keys(products[part], k, first_column=first_column)


def largest_keys(values: np.ndarray, k: int, *, first_column: int = 0) -> np.ndarray:
    """Return the k largest entries of each row of [B, C] as sorted keys [B, k] (see `pack`)."""
    rows, columns = values.shape
    bound = lower_bound(values, k)
    flat = np.flatnonzero(values >= bound[:, None])
    starts = np.searchsorted(flat, np.arange(rows + 1) * columns)
    counts = np.diff(starts)
    row = np.repeat(np.arange(rows), counts)
    place = np.arange(len(flat)) - np.repeat(starts[:-1], counts)
    keys = np.full((rows, counts.max(initial=k)), np.iinfo(np.uint64).max, np.uint64)
    keys[row, place] = pack(values.ravel()[flat], flat - row * columns + first_column)
    keys.sort(axis=1)
    return keys[:, :k]


def lower_bound(values: np.ndarray, k: int) -> np.ndarray:
    """Return [B] values of which each row of [B, C] holds at least k that are not smaller."""
    rows, columns = values.shape
    groups = max(GROUPS, 8 * k)
    if columns >= 2 * groups:
        depth = columns // groups
        # Column j belongs to group j mod `groups`: the maximum runs along contiguous memory.
        values = values[:, : depth * groups].reshape(rows, depth, groups).max(axis=1)
    return np.partition(values, values.shape[1] - k, axis=1)[:, values.shape[1] - k]


def decide(
    rows: np.ndarray, others: np.ndarray, *, candidates: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k best of each row's candidates [N, S] among the others; -1 is none."""
    keys = np.empty((len(rows), k), np.uint64)

    def best(part: slice) -> None:
        for start in range(part.start, part.stop, DECIDED_ROWS):
            block = slice(start, min(start + DECIDED_ROWS, part.stop))
            found = candidates[block]
            value = np.einsum("bsd,bd->bs", others[found], rows[block])
            value[found < 0] = -np.inf
            keys[block] = np.sort(pack(value, found & 0xFFFFFFFF), axis=1)[:, :k]

    in_threads(best, len(rows))
    return unpack(keys)


def pack(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return uint64 keys whose ascending order is: larger value first, then smaller index."""
    bits = (values + np.float32(0)).view(np.uint32)  # + 0: minus zero equals zero
    ascending = bits ^ np.where(bits >> 31, np.uint32(0xFFFFFFFF), np.uint32(0x80000000))
    return ((~ascending).astype(np.uint64) << np.uint64(32)) | index.astype(np.uint64)


def unpack(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values (float32) and the indices (int64) of packed keys."""
    ascending = ~(keys >> np.uint64(32)).astype(np.uint32)
    bits = ascending ^ np.where(ascending >> 31, np.uint32(0x80000000), np.uint32(0xFFFFFFFF))
    return bits.view(np.float32), (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def block_rows(columns: int) -> int:
    """Return how many rows of `columns` float32 make one block of bounded memory."""
    return int(np.clip(BLOCK_BYTES // (4 * max(columns, 1)), 16, 4096))


def in_threads(work: Callable[[slice], T], rows: int) -> list[T]:
    """Return `work` of consecutive parts of `rows`, in order; numpy lets go of the lock inside."""
    count = threads() if rows >= 64 else 1
    ends = [rows * part // count for part in range(count + 1)]
    parts = [slice(*pair) for pair in pairwise(ends)]
    return [work(parts[0])] if count == 1 else list(_pool().map(work, parts))


def threads() -> int:
    """Return how many threads the selection uses: the cores, or OMP_NUM_THREADS."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) else cores()


_POOLS: dict[int, ThreadPoolExecutor] = {}


def _pool() -> ThreadPoolExecutor:
    key = os.getpid()  # a forked process cannot use its parent's threads
    if key not in _POOLS:
        _POOLS[key] = ThreadPoolExecutor(threads(), thread_name_prefix="nformer-search")
    return _POOLS[key]


def blocks(rows: int, columns: int) -> Iterator[slice]:
    """Yield slices of `rows` such that each block of [rows, columns] float32 stays bounded."""
    size = block_rows(columns)
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))
