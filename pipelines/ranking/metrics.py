"""CMC, mAP and mINP by the Market-1501 protocol, from the ranks of the true matches alone.

A rank is found by counting what stands before a match, so nothing is sorted and no Q×G matrix is
kept. Equal similarities count in the gallery's order, as a stable sort would put them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, Protocol

import numpy as np

from ..embeddings import Embeddings, as_numpy, require_embeddings
from ..errors import BadInput
from ..neighbours.checked import check_widths, unit_rows
from ..neighbours.exact import blocks, in_threads, largest_keys, product_blocks, unpack
from ..progress import Progress, Silent
from .matches import Matches, no_valid_query
from .open_set import Verification


@dataclass(frozen=True, eq=False)
class Ranking:
    """The first items of every query's list, in the order that the metrics count.

    index: [Q, k] int64 gallery row, -1 beyond the end of a list. nearness: [Q, k] float32, cosine
    similarity or minus the distance. match: [Q, k] bool, whether it is the right person.
    """

    index: np.ndarray
    nearness: np.ndarray
    match: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Metrics:
    """How well a ranking finds the right people; fractions of 1.

    mean_ap, mean_inp: means over the valid queries.
    cmc: [max_rank] share of valid queries with a true match among the first r; rank 1 first.
    queries, valid_queries, gallery: counts; valid queries have at least one true match that
        is not of their own camera; the others are left out of every mean. Junk is not counted.
    average_precision, inverse_negative_penalty: [Q] of each query, NaN where it is not valid.
    first_match: [Q] rank of the first true match, from 1; 0 where the query is not valid.
    tpr_at_fpr: over all pairs that count, the share of true ones accepted when at most that share
        of the false ones is (open set); empty unless asked for.
    ranking: the first items of every query's list; None unless asked for.
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
    tpr_at_fpr: dict[float, float] = field(default_factory=dict)
    ranking: "Ranking | None" = None

    def __repr__(self) -> str:
        ranks = ", ".join(f"rank-{r} {self.rank(r):.3f}" for r in (1, 5, 10))
        return (
            f"Metrics: mAP {self.mean_ap:.3f}, mINP {self.mean_inp:.3f}\n"
            f"{ranks}\n"
            f"{self.valid_queries} of {self.queries} queries have a match among "
            f"{self.gallery} gallery items"
        )

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
    top: int = 0,
    open_set: bool = False,
    progress: Progress | None = None,
) -> Metrics:
    """Score the ranking of the gallery for every query.

    Gallery items with the query's identity and camera are skipped; negative pids are junk. With
    no cameras known (-1) nothing is skipped for its camera. AP is the mean of the precision at
    every true match; INP the number of matches over the rank of the last (Ye et al., 2021).

    distances: [Q, G], smaller is nearer, or something that yields its rows; None: by cosine.
    max_rank: length of the CMC curve, clipped to the gallery's size.
    top: length of the lists to keep in `ranking`; 0: none.
    open_set: whether to measure `tpr_at_fpr` too.

    Raises:
        BadInput: widths or shapes that do not agree, NaN, an empty side, no valid query.
    """
    if max_rank < 1 or top < 0:
        raise BadInput(f"max_rank is {max_rank} and top {top}; at least 1 and 0 are wanted")
    if hasattr(distances, "detach"):
        distances = as_numpy(distances)
    kept, pairs = rankable(query, gallery, distances=distances)
    ranks: list[np.ndarray] = []
    lists = RankedLists(pairs, kept, top=top)
    verification = Verification(pairs, len(kept)) if open_set else None
    with (progress or Silent()).task("score", len(query), unit="queries") as task:
        for block, nearness in nearness_blocks(query, gallery, distances=distances, kept=kept):
            count = partial(pairs.ranks_of_rows, first=block.start, nearness=nearness)
            ranks += chain.from_iterable(in_threads(count, len(nearness)))
            lists.add(block, nearness)
            if verification is not None:
                verification.add(block, nearness)
            task.advance(block.stop - block.start)
    return summarise(
        ranks,
        gallery=len(kept),
        max_rank=max_rank,
        ranking=lists.whole() if top else None,
        tpr_at_fpr=verification.rates() if verification is not None else {},
    )


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


def nearness_blocks(
    query: Embeddings,
    gallery: Embeddings,
    *,
    distances: "np.ndarray | Distances | None",
    kept: np.ndarray,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield blocks of query rows with how near each kept gallery item is, [B, len(kept)]."""
    everything = len(kept) == len(gallery)
    if distances is None:
        q, g = unit_rows(query.features, "query"), unit_rows(gallery.features, "gallery")
        g = g if everything else g[kept]
        yield from product_blocks(q, g)
        return
    for block in blocks(len(query), len(gallery)):
        rows = distances[block] if isinstance(distances, np.ndarray) else distances.rows(block)
        if np.isnan(rows).any():
            raise BadInput("the distances hold NaN; every pair needs a number")
        yield block, -(rows if everything else rows[:, kept])


def summarise(
    ranks: list[np.ndarray],
    *,
    gallery: int,
    max_rank: int,
    ranking: Ranking | None = None,
    tpr_at_fpr: dict[float, float] | None = None,
) -> Metrics:
    """Turn every query's ranks of true matches into the figures."""
    queries = len(ranks)
    valid = np.array([len(found) > 0 for found in ranks], bool)
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
        tpr_at_fpr=tpr_at_fpr or {},
        ranking=ranking,
    )


def rankable(
    query: Embeddings, gallery: Embeddings, *, distances: Any = None
) -> tuple[np.ndarray, Matches]:
    """Return the rows of the gallery that are ranked, and which of those match each query.

    Raises:
        BadInput: no Embeddings, nothing to rank, shapes that do not agree, no valid query.
    """
    require_embeddings(query=query, gallery=gallery)
    if not len(query):
        raise BadInput("there are no queries to score")
    if not (gallery.pids >= 0).any():
        raise BadInput(
            f"the gallery is empty: of its {len(gallery)} items none has an identity of 0 or "
            "above; scores need the pids of the query and the gallery"
        )
    if distances is None:
        check_widths(query.features, gallery.features)
    elif tuple(distances.shape) != (len(query), len(gallery)):
        raise BadInput(
            f"distances of shape {tuple(distances.shape)} for {len(query)} queries and "
            f"{len(gallery)} gallery items; [{len(query)}, {len(gallery)}] is wanted"
        )
    kept = np.flatnonzero(gallery.pids >= 0)
    pairs = Matches(query, gallery.pids[kept], camids=gallery.camids[kept])
    if not pairs.any_valid():
        raise BadInput(no_valid_query(pairs))
    return kept, pairs
