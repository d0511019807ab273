"""Made-up embeddings of people: rows scattered about a centre of each."""

import numpy as np


def scattered(pids, *, width, noise, random, centres=None):
    """Return a row [N, width] for each identity number, from 0, about its person's centre.

    random:  the generator of the noise.   centres: the seed of the centres, which are then the
    same for every set; None: they are drawn from `random` first.
    """
    drawn = random if centres is None else np.random.default_rng(centres)
    middle = drawn.normal(size=(int(pids.max()) + 1, width))
    return middle[pids] + noise * random.normal(size=(len(pids), width))


def unit(rows):
    """Return rows at length 1, in the precision in which they come."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
