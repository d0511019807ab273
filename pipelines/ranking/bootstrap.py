"""How certain a difference in mAP is: a paired bootstrap over the queries."""

from typing import NamedTuple

import numpy as np

RESAMPLES, LEVEL = 2000, 0.95  # of the interval
BLOCK = 200  # resamples drawn at once


class Difference(NamedTuple):
    """A difference of means, the second minus the first, and its confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def paired_difference(
    first: np.ndarray, second: np.ndarray, *, random: np.random.Generator
) -> Difference:
    """Return the mean of second - first [Q] and its percentile bootstrap interval over queries.

    Efron, Bootstrap methods: another look at the jackknife, 1979. The pairing takes out how hard
    each query is.
    """
    gain = second - first
    means = [
        gain[random.integers(0, len(gain), (BLOCK, len(gain)))].mean(axis=1)
        for _ in range(RESAMPLES // BLOCK)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(float(gain.mean()), float(low), float(high))
