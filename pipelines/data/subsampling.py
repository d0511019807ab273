"""Draw images of each identity at random, smaller draws within larger ones."""

import numpy as np

from ..seeding import numpy_generator


def drawing_order(pids: np.ndarray, seed: int) -> np.ndarray:
    """Return each row's position, from 0, in its identity's random order: [N] int64."""
    generator = numpy_generator(seed, "subsample")
    shuffled = generator.permutation(len(pids))
    by_pid = shuffled[np.argsort(pids[shuffled], kind="stable")]
    sorted_pids = pids[by_pid]
    first = np.flatnonzero(np.r_[True, sorted_pids[1:] != sorted_pids[:-1]])
    counts = np.diff(np.r_[first, len(pids)])
    position = np.empty(len(pids), np.int64)
    position[by_pid] = np.arange(len(pids)) - np.repeat(first, counts)
    return position


def drawn_on_average(pids: np.ndarray, average: int, *, seed: int) -> np.ndarray:
    """Return which rows are drawn so that identities have `average` images in the mean: [N] bool.

    Each identity keeps the same share of its own rows, and one at least; where the mean is lower
    already, all are kept (the sub-testsets of the paper's Table 3, section 4.4).
    """
    if not len(pids):
        return np.zeros(0, bool)
    position = drawing_order(pids, seed)
    _, identity, counts = np.unique(pids, return_inverse=True, return_counts=True)
    start = numpy_generator(seed, "subsample", "start").random(len(counts))
    share = np.where(position == 0, -1.0, (position + start[identity]) / counts[identity])
    kept = np.zeros(len(pids), bool)
    kept[np.argsort(share, kind="stable")[: max(1, average) * len(counts)]] = True
    return kept
