"""CMC, mAP and mINP by the Market-1501 protocol, from the ranks of the true matches alone.

A rank is found by counting what stands before a match, so nothing is sorted and no Q×G matrix is
kept. Equal similarities count in the gallery's order, as a stable sort would put them.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..embeddings import Embeddings, as_numpy
from ..errors import BadInput
from ..progress import Progress, Silent
from .exact import blocks, threads
from .rows import unit_rows

SORT_FROM = 96  # matches of one query from which one sort is cheaper than counting for each


@dataclass(frozen=True, eq=False)
class Metrics:
    """How well a ranking finds the right people; fractions of 1.

    mean_ap, mean_inp: means over the valid queries.
    cmc: [max_rank] share of valid queries with a true match among the first r; rank 1 first.
    queries, valid_queries, gallery: counts; valid queries have at least one true match that
        is not of their own camera; the others are left out of every mean. Junk is not counted.
    average_precision, inverse_negative_penalty: [Q] of each query, NaN where it is not valid.
    first_match: [Q] rank of the first true match, from 1; 0 where the query is not valid.
    """

    mean_ap: float
    mean_inp: float
    cmc: np.ndarray
    queries: int
    valid_queries: int
    gallery: int
    average_precision: np.ndarray
    inverse_negative_penalty: np.ndarray
    first_match: np.ndarray

    def rank(self, r: int) -> float:
        """Return CMC at rank r; beyond the last rank kept, the last one's."""
        return float(self.cmc[min(r, len(self.cmc)) - 1])


class Distances(Protocol):
    """Distances [Q, G] that exist a block of query rows at a time."""

    shape: tuple[int, int]

    def rows(self, block: slice) -> np.ndarray:
        """Return [B, G] float32 for the queries of one slice."""


def score(
    query: Embeddings,
    gallery: Embeddings,
    *,
    distances: "np.ndarray | Distances | None" = None,
    max_rank: int = 50,
    progress: Progress | None = None,
) -> Metrics:
    """Score the ranking of the gallery for every query.

    Gallery items with the query's identity and camera are skipped; negative pids are junk. With
    no cameras known (-1) nothing is skipped for its camera. AP is the mean of the precision at
    every true match; INP the number of matches over the rank of the last (Ye et al., 2021).

    distances: [Q, G], smaller is nearer, or something that yields its rows; None: by cosine.

    Raises:
        BadInput: widths or shapes that do not agree, NaN, an empty side, no valid query.
    """
    if hasattr(distances, "detach"):
        distances = as_numpy(distances)
    kept = np.flatnonzero(gallery.pids >= 0)
    require_rankable(query, gallery, distances)
    pairs = Pairs(query, gallery.pids[kept], gallery.camids[kept])
    ranks: list[np.ndarray] = []
    with (
        (progress or Silent()).task("score", len(query), "queries") as task,
        ThreadPoolExecutor(threads()) as pool,
    ):
        for block, nearness in nearness_blocks(query, gallery, distances, kept):
            ranks += pool.map(pairs.ranks, range(block.start, block.stop), nearness)
            task.advance(block.stop - block.start)
    return summarise(ranks, gallery=len(kept), max_rank=max_rank, pairs=pairs)


def nearness_blocks(
    query: Embeddings,
    gallery: Embeddings,
    distances: "np.ndarray | Distances | None",
    kept: np.ndarray,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield blocks of query rows with how near each kept gallery item is, [B, len(kept)]."""
    everything = len(kept) == len(gallery)
    if distances is None:
        q, g = unit_rows(query.features, "query"), unit_rows(gallery.features, "gallery")
        g = g if everything else g[kept]
    for block in blocks(len(query), len(gallery)):
        if distances is None:
            yield block, q[block] @ g.T  # [B, d] x [d, G] -> [B, G]
            continue
        rows = distances[block] if isinstance(distances, np.ndarray) else distances.rows(block)
        if np.isnan(rows).any():
            raise BadInput("the distances hold NaN; every pair needs a number")
        yield block, -(rows if everything else rows[:, kept])


class Pairs:
    """Which gallery items are a query's true matches, and which are skipped."""

    def __init__(self, query: Embeddings, pids: np.ndarray, camids: np.ndarray) -> None:
        self.query_pids, self.query_camids = query.pids, query.camids
        self.camids = camids
        self.order = np.argsort(pids, kind="stable")
        ordered = pids[self.order]
        self.first = np.searchsorted(ordered, query.pids, side="left")
        self.last = np.searchsorted(ordered, query.pids, side="right")

    def of(self, query: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the gallery rows of a query's true matches and those of its own camera."""
        same = self.order[self.first[query] : self.last[query]]
        camera = self.query_camids[query]
        own = (self.camids[same] == camera) & (camera >= 0)
        return same[~own], same[own]

    def ranks(self, query: int, nearness: np.ndarray) -> np.ndarray:
        """Return the ranks, from 1 and ascending, of a query's true matches in its row [G]."""
        matches, skipped = self.of(query)
        if not len(matches):
            return np.empty(0, np.int64)
        before = count_before(nearness, matches)
        if len(skipped):
            at, value = nearness[matches][:, None], nearness[skipped]  # [m, 1], [s]
            ahead = (value > at) | ((value == at) & (skipped < matches[:, None]))
            before -= ahead.sum(axis=1)
        before.sort()
        return before + 1


def count_before(nearness: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return how many of the row [G] stand before each item: nearer, or as near and earlier."""
    values = nearness[items]
    if len(items) < SORT_FROM:
        return np.array(
            [
                np.count_nonzero(nearness[:item] >= value)
                + np.count_nonzero(nearness[item:] > value)
                for item, value in zip(items.tolist(), values, strict=True)
            ],
            np.int64,
        )
    ordered = np.sort(nearness)
    before = len(nearness) - np.searchsorted(ordered, values, side="right")
    tied = np.searchsorted(ordered, values, side="left") + 1 < len(nearness) - before
    for place in np.flatnonzero(tied):
        before[place] += np.count_nonzero(nearness[: items[place]] == values[place])
    return before


def summarise(ranks: list[np.ndarray], *, gallery: int, max_rank: int, pairs: Pairs) -> Metrics:
    """Turn every query's ranks of true matches into the figures."""
    queries = len(ranks)
    valid = np.array([len(found) > 0 for found in ranks], bool)
    if not valid.any():
        raise BadInput(no_valid_query(pairs))
    ap, inp = np.full(queries, np.nan), np.full(queries, np.nan)
    first = np.zeros(queries, np.int64)
    for query in np.flatnonzero(valid):
        found = ranks[query]
        ap[query] = (np.arange(1, len(found) + 1) / found).mean()
        inp[query] = len(found) / found[-1]
        first[query] = found[0]
    length = max(1, min(max_rank, gallery))
    hits = np.bincount(first[valid], minlength=length + 1)[1 : length + 1]
    return Metrics(
        mean_ap=float(ap[valid].mean()),
        mean_inp=float(inp[valid].mean()),
        cmc=np.cumsum(hits) / valid.sum(),
        queries=queries,
        valid_queries=int(valid.sum()),
        gallery=gallery,
        average_precision=ap,
        inverse_negative_penalty=inp,
        first_match=first,
    )


def no_valid_query(pairs: Pairs) -> str:
    """Return why no query can be scored."""
    shared = int((pairs.last > pairs.first).sum())
    queries = len(pairs.query_pids)
    if shared:
        return (
            f"none of the {queries} queries can be scored: every gallery item of their identities "
            "is of the query's own camera, which the protocol skips; check the camera ids, or set "
            "them all to -1 if cameras are not known"
        )
    return (
        f"none of the {queries} queries can be scored: no identity of theirs is in the gallery; "
        "check that both were read with the same identity numbers"
    )


def require_rankable(query: Embeddings, gallery: Embeddings, distances: Any) -> None:
    """Raise BadInput where there is nothing to rank, or shapes do not agree."""
    if not len(query):
        raise BadInput("there are no queries to score")
    if not (gallery.pids >= 0).any():
        raise BadInput(
            f"the gallery is empty: of its {len(gallery)} items none has an identity of 0 or above"
        )
    if distances is None:
        if query.dim != gallery.dim:
            raise BadInput(
                f"the query's embeddings are {query.dim} wide, the gallery's {gallery.dim}; "
                "one network makes one width"
            )
        return
    shape = tuple(distances.shape)
    if shape != (len(query), len(gallery)):
        raise BadInput(
            f"distances of shape {shape} for {len(query)} queries and {len(gallery)} gallery "
            f"items; [{len(query)}, {len(gallery)}] is wanted"
        )
