"""Exact neighbours within one set from bfloat16 products, which cost half the time or less.

Rounding a row moves it by a length that is known, so a rounded product is off by a bounded amount.
Candidates are taken by rounded products and decided in float32; where the bound leaves a row in
doubt, it is searched again in float32. The lists are those of a float32 search.
"""

import numpy as np
import torch

from ..progress import Progress
from .candidates import (
    SAMPLE,
    TILE_COLUMNS,
    TILE_ROWS,
    CandidateLists,
    Products,
    collect,
)
from .exact import decide, top_k

DOUBTFUL_SHARE = 0.25  # of the rows; beyond it a float32 search of all is quicker
OUTPUT_ROUNDING = 2.0**-9  # half a unit in the last of bfloat16's eight bits, relative
SUM_ROUNDING = 1e-4  # of the products' float32 sums, generously


class HalfProducts(Products):
    """Products of rows of length 1 or 0, rounded to bfloat16, as float32."""

    def __init__(self, rows: np.ndarray) -> None:
        super().__init__(rows)
        exact = torch.from_numpy(rows)
        self.half = exact.bfloat16()
        parts = zip(exact.split(4096), self.half.split(4096), strict=True)
        moved = torch.cat([(given - rounded.float()).norm(dim=1) for given, rounded in parts])
        # |x·y − x'·y'| ≤ |x − x'| |y| + |x'| |y − y'|, with |x|, |y| at most 1.
        self.moved = moved.numpy() + (1 + moved.numpy()) * float(moved.max())
        self.rounded = torch.empty(TILE_ROWS * TILE_COLUMNS, dtype=torch.bfloat16)

    def tile(self, across: slice, down: slice) -> np.ndarray:
        """Return the products [b, c] of two ranges of rows; good until the next."""
        b, c = across.stop - across.start, down.stop - down.start
        rounded = self.rounded[: b * c].view(b, c)
        torch.mm(self.half[across], self.half[down].T, out=rounded)
        return torch.from_numpy(self.room[: b * c].reshape(b, c)).copy_(rounded).numpy()

    def with_sample(self, block: slice) -> np.ndarray:
        """Return the products of some rows with every SAMPLE-th row."""
        return (self.half[block] @ self.half[::SAMPLE].T).float().numpy()

    def slack(self, value: np.ndarray) -> np.ndarray:
        """Return [N] by how much a row's products that round to `value` [N] may be larger."""
        return self.moved + np.abs(value) * OUTPUT_ROUNDING * (1 + 2**-7) + SUM_ROUNDING


def halved_top_k(
    rows: np.ndarray, k: int, *, progress: Progress
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the k largest inner products of each unit row with all rows; None where in vain.

    rows: [N, d] float32, of length 1 or 0.   returns: similarity and index [N, k], as `top_k`.
    """
    products = HalfProducts(rows)
    lists = CandidateLists(k + k // 2 + 12, len(rows), wanted=k)
    collect(products, lists, least=False, progress=progress)
    rounded, candidates = lists.best()
    # What is not a candidate has a rounded product of at most `cut`.
    cut = np.where(candidates[:, -1] >= 0, rounded[:, -1], lists.bound)
    similarity, index = decide(rows, rows, candidates=candidates, k=k)
    doubtful = np.flatnonzero(~(similarity[:, -1] > cut + products.slack(cut)))
    if len(doubtful) > DOUBTFUL_SHARE * len(rows):
        return None
    if len(doubtful):
        similarity[doubtful], index[doubtful] = top_k(rows[doubtful], rows, k=k)
    return similarity, index
