"""Exact neighbours within one set from bfloat16 products, which cost half the time or less.

Rounding a row moves it by a length that is known, so a rounded product is off by a bounded amount.
Candidates are taken by rounded products and decided in float32; where the bound leaves a row in
doubt, it is searched again in float32. The lists are those of a float32 search.
"""

import numpy as np
import torch

from ..progress import Progress
from .candidates import (
    SUM_ROUNDING,
    TILE_COLUMNS,
    TILE_ROWS,
    CandidateLists,
    Products,
    collect,
    worth_rounding,
)
from .exact import decide, top_k

DOUBTFUL_SHARE = 0.25  # of the rows; beyond it a float32 search of all is quicker
OUTPUT_ROUNDING = 2.0**-9  # half a unit in the last of bfloat16's eight bits, relative


class HalfProducts(Products):
    """Products of rows of length 1 or 0, rounded to bfloat16, as float32."""

    def __init__(self, rows: np.ndarray, sample: np.ndarray | None = None) -> None:
        super().__init__(rows, sample)
        exact = torch.from_numpy(rows)
        self.half = exact.bfloat16()
        parts = zip(exact.split(4096), self.half.split(4096), strict=True)
        moved = torch.cat([(given - rounded.float()).norm(dim=1) for given, rounded in parts])
        self.moved, self.most = moved.numpy(), float(moved.max())
        self.half_sample = torch.from_numpy(self.sample).bfloat16()
        self.rounded = torch.empty(TILE_ROWS * TILE_COLUMNS, dtype=torch.bfloat16)

    def tile(self, across: slice, down: slice) -> np.ndarray:
        """Return the products [b, c] of two ranges of rows; good until the next."""
        b, c = across.stop - across.start, down.stop - down.start
        rounded = self.rounded[: b * c].view(b, c)
        torch.mm(self.half[across], self.half[down].T, out=rounded)
        return torch.from_numpy(self.room[: b * c].reshape(b, c)).copy_(rounded).numpy()

    def with_sample(self, block: slice) -> np.ndarray:
        """Return the products of some rows with the sample: [b, S]."""
        return (self.half[block] @ self.half_sample.T).float().numpy()

    def slack(self, value: np.ndarray) -> np.ndarray:
        """Return [N] by how much a row's products that round to `value` [N] may be larger."""
        # |x·y − x'·y'| ≤ |x − x'| |y| + |x'| |y − y'|, with |x|, |y| at most 1.
        inputs = self.moved + (1 + self.moved) * self.most
        return inputs + np.abs(value) * OUTPUT_ROUNDING * (1 + 2**-7) + SUM_ROUNDING


def products_of(
    rows: np.ndarray, sample: np.ndarray | None = None, *, among: int | None = None
) -> Products:
    """Return the products of unit rows, rounded where that is the quicker way.

    among: rows of the set that these are of; None: these.
    """
    rounded = worth_rounding(len(rows) if among is None else among)
    return (HalfProducts if rounded else Products)(rows, sample)


def candidates_of(k: int) -> int:
    """Return how many of a row's best are kept by rounded products, of which k are wanted."""
    return k + k // 2 + 12


def halved_top_k(
    rows: np.ndarray, k: int, *, progress: Progress
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the k largest inner products of each unit row with all rows; None where in vain.

    rows: [N, d] float32, of length 1 or 0.   returns: similarity and index [N, k], as `top_k`.
    """
    products = HalfProducts(rows)
    lists = CandidateLists(candidates_of(k), len(rows), wanted=k)
    collect(products, lists, least=False, progress=progress)
    rounded, candidates = lists.best()
    # What is not a candidate has a rounded product of at most `cut`.
    cut = np.where(candidates[:, -1] >= 0, rounded[:, -1], lists.bound)
    similarity, index = decide(rows, rows, candidates=candidates, k=k)
    doubtful = products.doubtful(similarity[:, -1], cut)
    if len(doubtful) > DOUBTFUL_SHARE * len(rows):
        return None
    if len(doubtful):
        similarity[doubtful], index[doubtful] = top_k(rows[doubtful], rows, k=k)
    return similarity, index
