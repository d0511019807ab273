"""CMC with a single gallery image an identity, drawn again and again (CUHK03's older protocol)."""

import numpy as np

from ..embeddings import Embeddings
from ..errors import BadInput
from ..seeding import numpy_generator
from .matches import Matches
from .metrics import nearness_blocks, rankable


def single_shot_cmc(
    query: Embeddings,
    gallery: Embeddings,
    *,
    repeats: int = 10,
    max_rank: int = 50,
    seed: int = 0,
) -> np.ndarray:
    """Return the CMC [max_rank], rank 1 first, of galleries with one image of each identity.

    For every query the gallery without what the protocol skips is drawn down to one image of each
    identity, `repeats` times over; the rank is that of the right person among them.

    Raises:
        BadInput: as `score`; repeats below 1.
    """
    if repeats < 1:
        raise BadInput(f"single_shot is {repeats}; at least one draw of the gallery is wanted")
    kept, pairs = rankable(query, gallery)
    generator = numpy_generator(seed, "single shot")
    ranks: list[np.ndarray] = []
    for block, nearness in nearness_blocks(query, gallery, distances=None, kept=kept):
        for number, row in zip(range(block.start, block.stop), nearness, strict=True):
            ranks.append(
                drawn_ranks(pairs, number, nearness=row, repeats=repeats, generator=generator)
            )
    found = np.concatenate(ranks)
    length = min(max_rank, len(np.unique(pairs.pids)))
    hits = np.bincount(found, minlength=length + 1)[1 : length + 1]
    return np.cumsum(hits) / len(found)


def drawn_ranks(
    pairs: Matches,
    number: int,
    *,
    nearness: np.ndarray,
    repeats: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Return the rank of the right person in each drawn gallery: [repeats], or [0] if not valid."""
    matches, skipped = pairs.of(number)
    if not len(matches):
        return np.empty(0, np.int64)
    order = pairs.order[~np.isin(pairs.order, skipped)]  # gallery rows, by identity
    pids = pairs.pids[order]
    starts = np.flatnonzero(np.diff(pids, prepend=pids[0] - 1))
    counts = np.diff(starts, append=len(order))
    chosen = starts + (generator.random((repeats, len(starts))) * counts).astype(np.int64)
    drawn = nearness[order[chosen]]  # [repeats, identities]
    right = np.flatnonzero(pids[starts] == pairs.query_pids[number])[0]
    own = drawn[:, right : right + 1]
    earlier = order[chosen] < order[chosen[:, right : right + 1]]
    before = (drawn > own) | ((drawn == own) & earlier)
    return before.sum(axis=1) + 1
