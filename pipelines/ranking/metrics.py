"""CMC, mAP and whatever else rules count, from the ranks of the true matches alone.

Whom a query is compared with is the rules' affair (`rules`; by default those of Market-1501). A
rank is found by counting what stands before a match, so nothing is sorted and no Q×G matrix is
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
from ..neighbours.exact import blocks, in_threads, product_blocks
from ..progress import Progress, Silent
from .drawn_galleries import PartOfDistances, merged
from .figures import Ranks, average_precision, figure_of, inverse_negative_penalty
from .first_matches import FirstMatches
from .matches import Labels, Matches, no_valid_query
from .open_set import Verification
from .ranked_lists import RankedLists, Ranking
from .rules import USUAL, Rules, require_labels, rules_named, selections


@dataclass(frozen=True, eq=False, repr=False)
class Metrics:
    """How well a ranking finds the right people; fractions of 1.

    mean_ap, mean_inp: means over the valid queries.
    cmc: [max_rank] share of valid queries with a true match among the first r; rank 1 first.
    queries, valid_queries, gallery: counts; valid queries have at least one true match that
        is not skipped; the others are left out of every mean. Junk is not counted.
    average_precision, inverse_negative_penalty: [Q] of each query, NaN where it is not valid.
    first_match: [Q] rank of the first true match, from 1; 0 where the query is not valid.
    tpr_at_fpr: over all pairs that count, the share of true ones accepted when at most that share
        of the false ones is (open set); empty unless asked for.
    ranking: the first items of every query's list; None unless asked for.
    rules: the name of the rules.   figures: those that the rules count, by name.
    deviation: of the figures over drawn galleries, where the rules draw several. All else is a mean
        over these; `first_match` and `ranking` are of the first in which the query takes part.
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
    rules: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    deviation: dict[str, float] = field(default_factory=dict)

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
    rules: "str | Rules" = "market1501",
    max_rank: int = 50,
    top: int = 0,
    open_set: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Metrics:
    """Score the ranking of the gallery for every query.

    By the rules of Market-1501, gallery items with the query's identity and camera are skipped;
    with no cameras known (-1) nothing is. Negative pids are junk under all rules. AP is the mean of
    the precision at every true match; INP the number of matches over the rank of the last (Ye et
    al., 2021).

    distances: [Q, G], smaller is nearer, or something that yields its rows; None: by cosine.
    rules: by name or of your own: whom a query is compared with, and what is counted.
    max_rank: length of the CMC curve, clipped to the gallery's size.
    top: length of the lists to keep in `ranking`; 0: none.
    open_set: whether to measure `tpr_at_fpr` too.
    seed: of the galleries and lists that some rules draw.

    Raises:
        BadInput: widths or shapes that do not agree, NaN, an empty side, no valid query, unknown
            rules, or labels lacking that they go by.
    """
    if max_rank < 1 or top < 0:
        raise BadInput(f"max_rank is {max_rank} and top {top}; at least 1 and 0 are wanted")
    if hasattr(distances, "detach"):
        distances = as_numpy(distances)
    rules = rules_named(rules)
    wanted: dict[str, Any] = {"max_rank": max_rank, "top": top, "open_set": open_set, "seed": seed}
    if not rules.selects:
        return _score(query, gallery, distances=distances, rules=rules, progress=progress, **wanted)
    require_labels(rules, query, gallery=gallery)
    _require_shape(distances, query, gallery=gallery)
    chosen = selections(rules, query, gallery=gallery, seed=seed)
    found = [
        _score(
            query.select(one.query),
            gallery.select(one.gallery),
            distances=None if distances is None else PartOfDistances(distances, one),
            rules=rules.whole(),
            progress=progress,
            **wanted,
        )
        for one in chosen
    ]
    return merged(found, chosen, queries=len(query))


def _score(
    query: Embeddings,
    gallery: Embeddings,
    *,
    distances: "np.ndarray | Distances | None",
    rules: Rules,
    max_rank: int,
    top: int,
    open_set: bool,
    seed: int,
    progress: Progress | None,
) -> Metrics:
    kept, pairs = rankable(query, gallery, distances=distances, rules=rules)
    ranks: list[np.ndarray] = []
    first: list[np.ndarray] = []
    counted = FirstMatches(pairs, seed=seed)
    lists = RankedLists(pairs, kept, top=max(top, 1) if rules.open_set else top)
    verification = Verification(pairs, len(kept)) if open_set else None
    with (progress or Silent()).task("score", len(query), unit="queries") as task:
        for block, nearness in nearness_blocks(query, gallery, distances=distances, kept=kept):
            count = partial(pairs.ranks_of_rows, first=block.start, nearness=nearness)
            found = list(chain.from_iterable(in_threads(count, len(nearness))))
            ranks += found
            for number, own, row in zip(
                range(block.start, block.stop), found, nearness, strict=True
            ):
                first.append(counted.of(number, own, nearness=row))
            lists.add(block, nearness)
            if verification is not None:
                verification.add(block, nearness)
            task.advance(block.stop - block.start)
    ranking = lists.whole() if lists.top else None
    nearest = (ranking.nearness[:, 0], ranking.match[:, 0]) if ranking and rules.open_set else None
    return summarise(
        Ranks(ranks, first, query.pids, counted.longest, nearest, seed),
        rules=rules,
        gallery=len(kept),
        max_rank=max_rank,
        ranking=ranking if top else None,
        tpr_at_fpr=verification.rates() if verification is not None else {},
    )


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
    ranks: Ranks,
    *,
    rules: Rules,
    gallery: int,
    max_rank: int,
    ranking: Ranking | None = None,
    tpr_at_fpr: dict[float, float] | None = None,
) -> Metrics:
    """Turn every query's ranks of true matches into the figures."""
    valid = ranks.valid
    ap, inp = ranks.of_each(average_precision), ranks.of_each(inverse_negative_penalty)
    return Metrics(
        mean_ap=float(ap[valid].mean()),
        mean_inp=float(inp[valid].mean()),
        cmc=ranks.cmc(max(1, min(max_rank, ranks.longest))),
        queries=len(valid),
        valid_queries=int(valid.sum()),
        gallery=gallery,
        average_precision=ap,
        inverse_negative_penalty=inp,
        first_match=np.array([found[0] if len(found) else 0 for found in ranks.matches], np.int64),
        tpr_at_fpr=tpr_at_fpr or {},
        ranking=ranking,
        rules=rules.name,
        figures={name: figure_of(name, ranks) for name in dict.fromkeys((*USUAL, *rules.figures))},
    )


def rankable(
    query: Embeddings,
    gallery: Embeddings,
    *,
    distances: Any = None,
    rules: "str | Rules" = "market1501",
) -> tuple[np.ndarray, Matches]:
    """Return the rows of the gallery that are ranked, and which of those match each query.

    Raises:
        BadInput: no Embeddings, nothing to rank, shapes that do not agree, no valid query, labels
            lacking.
    """
    require_embeddings(query=query, gallery=gallery)
    rules = rules_named(rules)
    if not len(query):
        raise BadInput("there are no queries to score")
    if not (gallery.pids >= 0).any():
        raise BadInput(
            f"the gallery is empty: of its {len(gallery)} items none has an identity of 0 or "
            "above; scores need the pids of the query and the gallery"
        )
    _require_shape(distances, query, gallery=gallery)
    require_labels(rules, query, gallery=gallery)
    kept = np.flatnonzero(gallery.pids >= 0)
    pairs = Matches(query, Labels.of(gallery, kept), rules=rules)
    if not pairs.any_valid():
        raise BadInput(no_valid_query(pairs))
    return kept, pairs


def _require_shape(distances: Any, query: Embeddings, *, gallery: Embeddings) -> None:
    """Raise BadInput where distances, or the embeddings where there are none, do not agree."""
    if distances is None:
        check_widths(query.features, gallery.features)
    elif tuple(distances.shape) != (len(query), len(gallery)):
        raise BadInput(
            f"distances of shape {tuple(distances.shape)} for {len(query)} queries and "
            f"{len(gallery)} gallery items; [{len(query)}, {len(gallery)}] is wanted"
        )
