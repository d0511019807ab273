"""Exact neighbours within one set (self-join): each pair of rows is multiplied once.

A product serves both of its rows. What may enter a row's list is decided by a bound that a sample
of the columns gives beforehand; a row whose bound proves too strict is searched again in full.
Large sets take their candidates from bfloat16 products (`self_join_bf16`), where cores have them.
"""

from dataclasses import dataclass

import numpy as np

from ..progress import Progress, Silent
from .candidates import CandidateLists, Products, collect, worth_rounding
from .exact import least_products, top_k

SMALL = 4096  # a smaller set is searched as any gallery


@dataclass(frozen=True, eq=False)
class OwnNeighbours:
    """The nearest rows of each row, itself among them, and its least similarity to any.

    similarity: [N, k] float32, largest first. index: [N, k] int64.
    least: [N] float32, the smallest product of each row, where it was asked for.
    """

    similarity: np.ndarray
    index: np.ndarray
    least: np.ndarray | None


def self_join(
    rows: np.ndarray, k: int, *, least: bool = False, progress: Progress | None = None
) -> OwnNeighbours:
    """Return the k largest inner products of each row of [N, d] with all rows, ties by index."""
    progress = progress or Silent()
    if len(rows) <= SMALL:
        return OwnNeighbours(*top_k(rows, rows, k=k), least_products(rows))
    if not least and worth_rounding(len(rows)):
        from .self_join_bf16 import halved_top_k

        found = halved_top_k(rows, k, progress=progress)
        if found is not None:
            return OwnNeighbours(*found, None)
    lists = CandidateLists(k, len(rows))
    lowest = collect(Products(rows), lists, least=least, progress=progress)
    similarity, index = lists.best()
    short = np.flatnonzero(lists.count < k)
    if len(short):
        similarity[short], index[short] = top_k(rows[short], rows, k=k)
    return OwnNeighbours(similarity, index, lowest)
