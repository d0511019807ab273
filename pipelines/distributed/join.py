"""The nearest rows of each row of a set in parts (self-join): each pair of rows is multiplied once.

As `neighbours.self_join` does in one process: a bound of each row, from a sample of all rows, says
what may enter its list; a pair of parts gives candidates to the rows of both; each part decides in
float32 among its candidates, and searches rows that stay in doubt again, in full.
"""

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np

from ..neighbours.candidates import NONE, SAMPLE, CandidateLists, bounds, tiles_between
from ..neighbours.exact import decide, pack, unpack
from ..neighbours.self_join_bf16 import candidates_of, products_of
from .parts import Arrays, Parts, Steps
from .search import Columns, nearest_of_all

MOST_SAMPLED = 1 << 17  # rows of a sample, at most


def nearest_of_each(steps: Steps, rows: Parts, *, name: str, k: int) -> Parts:
    """Return the numbers of the k nearest of each unit row among all, ties by number: [N, k] int64.

    Where there are fewer than k, all of them.
    """
    k = min(k, len(rows))
    pairs = list(combinations_with_replacement(range(len(rows.ends)), 2))
    bound = steps.run(bound_rows, f"{name}-bounds", gives=["bound", "most"], rows=rows, k=k)
    found = steps.run(
        take_candidates, f"{name}-pairs", gives=["owners", "keys"],
        ends=tuple(range(1, len(pairs) + 1)), rows=rows, pairs=pairs, bound=bound["bound"], k=k,
    )  # fmt: skip
    return steps.run(
        decide_nearest, f"{name}-nearest", gives=["nearest"], rows=rows, pairs=pairs,
        bound=bound["bound"], most=bound["most"], owners=found["owners"], keys=found["keys"],
        k=k,
    )["nearest"]  # fmt: skip


def sampling(rows: int) -> int:
    """Return which of so many rows are in the sample: each so many-th."""
    return max(SAMPLE, -(-rows // MOST_SAMPLED))


def bound_rows(part: int, *, rows: Parts, k: int) -> Arrays:
    """Find what a row's candidates must reach, `bound` [n], and how far rounding moves one: `most`.

    returns: `most` is [1], of the rows of the part.
    """
    own, sample = rows.part(part), rows[np.arange(0, len(rows), sampling(len(rows)))]
    products = products_of(own, sample, among=len(rows))
    most = np.array([products.most], np.float32)
    return {"bound": bounds(products, k, rows=len(rows)), "most": most}


def take_candidates(
    part: int, *, rows: Parts, pairs: Sequence[tuple[int, int]], bound: Parts, k: int
) -> Arrays:
    """Multiply the rows of two parts; find what reaches the bounds of either.

    returns: `keys` [M] uint64, the packed products and numbers of candidates; `owners` [M] int64,
             the numbers of the rows whose they are.
    """
    one, other = pairs[part]
    both = (one,) if one == other else (one, other)
    own = np.concatenate([rows.part(each) for each in both])
    numbers = np.concatenate([rows.numbers_of(each) for each in both])
    lists = CandidateLists(candidates_of(k), len(own), wanted=k)
    lists.bound = np.concatenate([bound.part(each) for each in both])
    products, first = products_of(own, among=len(rows)), rows.rows_of(one)
    middle = first.stop - first.start
    columns = slice(0 if one == other else middle, len(own))
    for across, down in tiles_between(slice(0, middle), columns):
        lists.offer(products.tile(across, down), across, down=down)
    value, column = lists.best()
    row, place = np.nonzero(column >= 0)
    keys = pack(value[row, place], numbers[column[row, place]])
    return {"owners": numbers[row], "keys": keys}


def decide_nearest(
    part: int,
    *,
    rows: Parts,
    pairs: Sequence[tuple[int, int]],
    bound: Parts,
    most: Parts,
    owners: Parts,
    keys: Parts,
    k: int,
) -> Arrays:
    """Find the k nearest of each row of a part among its candidates: `nearest` [n, k]."""
    own, here = rows.part(part), rows.rows_of(part)
    best = np.full((len(own), candidates_of(k)), NONE, np.uint64)
    for number, pair in enumerate(pairs):
        if part in pair:
            theirs = owners.part(number)
            mine = (here.start <= theirs) & (theirs < here.stop)
            best = merged(best, theirs[mine] - here.start, keys=keys.part(number)[mine])
    value, candidates = unpack(best)
    candidates[best == NONE] = -1
    cut = np.where(best[:, -1] == NONE, bound.part(part), value[:, -1])
    used, place = np.unique(np.maximum(candidates, 0), return_inverse=True)
    places = np.where(candidates < 0, -1, place.reshape(candidates.shape))
    similarity, chosen = decide(own, rows[used], candidates=places, k=k)
    nearest = used[chosen % len(used)]
    products = products_of(own, among=len(rows))
    products.most = max(float(one[0]) for one in most)
    doubtful = products.doubtful(similarity[:, -1], cut)
    if len(doubtful):
        nearest[doubtful] = nearest_of_all(own[doubtful], Columns(rows).pieces(), k=k)
    return {"nearest": nearest}


def merged(best: np.ndarray, owners: np.ndarray, *, keys: np.ndarray) -> np.ndarray:
    """Return the best keys [n, m] of each row, of those and of new ones [M] of rows `owners` [M].

    owners: ascending.
    """
    counts = np.bincount(owners, minlength=len(best))
    new = np.full((len(best), counts.max(initial=0)), NONE, np.uint64)
    new[owners, np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)] = keys
    return np.sort(np.concatenate([best, new], axis=1), axis=1)[:, : best.shape[1]]
