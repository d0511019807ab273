"""Exact neighbours within one set from bfloat16 products, which cost half the time or less.

Rounding a row moves it by a length that is known, so a rounded product is off by a bounded amount.
Candidates are taken by rounded products and decided in float32; where the bound leaves a row in
doubt, it is searched again in float32. The lists are those of a float32 search.
"""

import numpy as np
import torch

from ..progress import Progress
from .candidates import SAMPLE, TILE_COLUMNS, TILE_ROWS, CandidateLists, collect
from .exact import decide, top_k

DOUBTFUL_SHARE = 0.25  # of the rows; beyond it a float32 search of all is quicker
OUTPUT_ROUNDING = 2.0**-9  # half a unit in the last of bfloat16's eight bits, relative
SUM_ROUNDING = 1e-4  # of the products' float32 sums, generously


class HalfProducts:
    """Products of rows of length 1 or 0, rounded to bfloat16, as float32."""

    def __init__(self, rows: np.ndarray) -> None:
        self.count = len(rows)
        exact = torch.from_numpy(rows)
        self.rows = exact.bfloat16()
        moved = torch.empty(len(rows))
        for start in range(0, len(rows), 4096):
            part = slice(start, start + 4096)
            moved[part] = (exact[part] - self.rows[part].float()).norm(dim=1)
        # |x·y − x'·y'| ≤ |x − x'| |y| + |x'| |y − y'|, with |x|, |y| at most 1.
        self.moved = moved.numpy() + (1 + moved.numpy()) * float(moved.max())
        self.rounded = torch.empty(TILE_ROWS * TILE_COLUMNS, dtype=torch.bfloat16)
        self.room = torch.empty(TILE_ROWS * TILE_COLUMNS)

    def tile(self, across: slice, down: slice) -> np.ndarray:
        """Return the products [b, c] of two ranges of rows; good until the next."""
        b, c = across.stop - across.start, down.stop - down.start
        rounded = torch.mm(
            self.rows[across], self.rows[down].T, out=self.rounded[: b * c].view(b, c)
        )
        return self.room[: b * c].view(b, c).copy_(rounded).numpy()

    def with_sample(self, block: slice) -> np.ndarray:
        """Return the products of some rows with every SAMPLE-th row."""
        return (self.rows[block] @ self.rows[::SAMPLE].T).float().numpy()

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
    spare = k + k // 2 + 12
    lists, _ = collect(
        products, CandidateLists(spare, len(rows), wanted=k), least=False, progress=progress
    )
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
