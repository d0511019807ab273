"""Choose at most so many images of each identity at random, smaller choices within larger ones."""

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
