"""Verification over all pairs: the share of true pairs accepted at a given share of false ones."""

import numpy as np

from .matches import Matches

FALSE_POSITIVE_RATES = (0.001, 0.01)


class Verification:
    """Gathers, block by block, all true pairs' nearness and the nearest of the false pairs'.

    Pairs that the protocol skips are not counted. Exact, in memory for 1 % of the pairs.
    """

    def __init__(self, pairs: Matches, gallery: int) -> None:
        self.pairs = pairs
        counts = [[len(side) for side in pairs.of(query)] for query in range(len(pairs))]
        self.false_pairs = gallery * len(counts) - int(np.sum(counts))
        self.keep = int(max(FALSE_POSITIVE_RATES) * self.false_pairs) + 1
        self.true: list[np.ndarray] = []
        self.false = np.empty(0, np.float32)
        self.bound = -np.inf

    def add(self, block: slice, nearness: np.ndarray) -> None:
        """Take in the nearness [B, G] of some queries; true and skipped pairs become -inf."""
        for query in range(block.start, block.stop):
            matches, skipped = self.pairs.of(query)
            row = nearness[query - block.start]
            self.true.append(row[matches])
            row[matches] = row[skipped] = -np.inf
        self.false = np.concatenate([self.false, nearness[nearness > self.bound]])
        if len(self.false) > self.keep:
            self.false = np.partition(self.false, -self.keep)[-self.keep :]
            self.bound = self.false[0]

    def rates(self) -> dict[float, float]:
        """Return for each false positive rate the largest true positive rate that stays below."""
        true = np.concatenate(self.true)
        false = np.sort(self.false)[::-1]
        found = {}
        for rate in FALSE_POSITIVE_RATES:
            accepted = int(rate * self.false_pairs)
            bound = false[accepted] if accepted < len(false) else -np.inf
            found[rate] = float((true > bound).mean()) if len(true) else float("nan")
        return found
