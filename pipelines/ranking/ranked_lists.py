"""The first items of every query's list, in the order that the metrics count."""

from dataclasses import dataclass

import numpy as np

from ..neighbours.exact import largest_keys, unpack
from .matches import Matches


@dataclass(frozen=True, eq=False)
class Ranking:
    """The first items of every query's list, in the order that the metrics count.

    index: [Q, k] int64 gallery row, -1 beyond the end of a list. nearness: [Q, k] float32, cosine
    similarity or minus the distance. match: [Q, k] bool, whether it is the right person.
    """

    index: np.ndarray
    nearness: np.ndarray
    match: np.ndarray


class RankedLists:
    """Gathers the first items of every list, block by block."""

    def __init__(self, pairs: Matches, kept: np.ndarray, *, top: int) -> None:
        self.pairs, self.kept, self.top = pairs, kept, min(top, len(kept))
        self.parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, block: slice, nearness: np.ndarray) -> None:
        """Take in the nearness [B, G] of some queries; skipped pairs become -inf."""
        if not self.top:
            return
        queries = range(block.start, block.stop)
        for query, row in zip(queries, nearness, strict=True):
            row[self.pairs.of(query)[1]] = -np.inf

        if nearness.dtype == np.float32:
            value, position = unpack(largest_keys(nearness, self.top))
        else:  # somebody's float64 distances keep their order
            position = np.argsort(-nearness, axis=1, kind="stable")[:, : self.top]
            value = np.take_along_axis(nearness, position, 1).astype(np.float32)
        match = self.pairs.pids[position] == self.pairs.query_pids[block, None]
        ended = np.isneginf(value)
        self.parts.append((np.where(ended, -1, self.kept[position]), value, match & ~ended))

    def whole(self) -> Ranking:
        """Return every query's list."""
        index, nearness, match = (np.concatenate(part) for part in zip(*self.parts, strict=True))
        return Ranking(index, nearness, match)
