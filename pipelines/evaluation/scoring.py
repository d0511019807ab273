"""Refined sets -> each method's ranking, its figures, and its row of the table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..artifacts.results import FIGURES, Evaluation, ResultRow
from ..config import EvaluateConfig
from ..neighbours.graph import Neighbourhoods
from ..ranking.drawn_galleries import merged
from ..ranking.metrics import Metrics, score
from ..ranking.ranked_lists import Ranking
from ..ranking.rerankers.registry import RERANKERS, ranked_by
from ..ranking.rules import Rules, Selection, selections
from ..refiners.chain import REFINERS
from .peak_memory import PeakMemory, peak_rss_mib
from .plan import NFORMER, Method, Plan, verdict
from .refining import Refined
from .sets import Sets, Stopwatch
from .worth import what_pays

RANKS = (1, 5, 10)


@dataclass(frozen=True, eq=False)
class Scored:
    """One method's row, the lists that it was counted from, and each query's average precision.

    Lists and average precision, [Q], are those of the first draw of the landmarks.   gallery: how
    many items are ranked.
    """

    row: ResultRow
    ranking: Ranking | None
    average_precision: np.ndarray
    gallery: int = 0


@dataclass(frozen=True, eq=False)
class Galleries:
    """The galleries that the rules draw, with the queries that each is asked: mostly one, whole.

    parts: the sets of each.   rows: which rows of the whole sets those are.
    """

    whole: Sets
    parts: Sequence[Sets]
    rows: Sequence[Selection]

    @staticmethod
    def of(sets: Sets, *, rules: Rules, seed: int) -> "Galleries":
        """Draw them."""
        rows = selections(rules, sets.query, gallery=sets.gallery, seed=seed)
        parts = [sets.part(one) for one in rows] if rules.selects else [sets]
        return Galleries(sets, parts, rows)

    def joined(self, found: Sequence[Metrics]) -> Metrics:
        """Return the metrics over all of them."""
        if self.parts[0] is self.whole:
            return found[0]
        return merged(found, self.rows, queries=len(self.whole.query))


def score_methods(
    methods: Sequence[Method],
    galleries: Galleries,
    *,
    refined: Sequence[Refined],
    plan: Plan,
    memory: PeakMemory,
) -> Iterator[Scored]:
    """Yield the cosine ranking and the re-rankings of one chain of refiners, scored.

    refined: of each gallery.   memory: watched since before the chain refined.
    """
    config, draws = plan.config, len(refined[0].pairs)
    sides = [  # of each draw of the landmarks, each gallery's
        [
            sets.near.like(*one.pairs[draw]) if methods[0].refine else sets.near
            for sets, one in zip(galleries.parts, refined, strict=True)
        ]
        for draw in range(draws)
    ]
    for method in methods:
        watches, found = [], []
        for drawn in sides:
            metrics = []
            for near in drawn:
                watch = Stopwatch(near)
                metrics.append(_scored(near, method, config=config, rules=plan.rules.whole()))
                watches.append(watch.seconds())
            found.append(galleries.joined(metrics))
        seconds = (sum(one.seconds for one in refined) + sum(watches)) / draws
        extra = {
            "peak_rss_mib": round(memory.mib(), 1),
            "added_mib": round(memory.added_mib(), 1),
            "camera_aware": _camera_aware(method, refined[0]),
            **({"kind": refined[0].kind} if refined[0].kind else {}),
            **_recommended(method, plan),
        }
        if config.open_set:
            rates = found[0].tpr_at_fpr.items()
            extra["tpr_at_fpr"] = {f"{rate:g}": value for rate, value in rates}
        if config.single_shot and not method.rerank:
            rules = replace(plan.rules.whole(), cmc="drawn", draws=config.single_shot)
            shots = [_scored(near, method, config=config, rules=rules) for near in sides[0]]
            means = galleries.joined(shots)
            extra["single_shot"] = {f"rank{r}": means.rank(r) for r in RANKS}
        row = _row(method, found, config=config, seconds=seconds, extra=extra)
        first = found[0]
        yield Scored(row, first.ranking, first.average_precision, first.gallery)
        memory.restart()


def _scored(
    near: Neighbourhoods, method: Method, *, config: EvaluateConfig, rules: Rules
) -> Metrics:
    distances = None
    if method.rerank:
        distances = ranked_by(method.rerank, near, k1=config.k1, k2=config.k2, weight=config.weight)
    return score(
        near.query_items,
        near.gallery_items,
        distances=distances,
        rules=rules,
        seed=config.seed,
        max_rank=config.max_rank,
        top=config.top,
        open_set=config.open_set,
    )


def _camera_aware(method: Method, refined: Refined) -> bool:
    """Return whether a method used camera ids, beyond leaving out a query's own camera."""
    named = any(name in REFINERS and REFINERS[name].needs_cameras for name in method.refine)
    named |= bool(method.rerank) and RERANKERS[method.rerank].needs_cameras
    return named or (NFORMER in method.refine and refined.camera_aware)


def _recommended(method: Method, plan: Plan) -> dict[str, object]:
    if plan.recommended is None:
        return {}
    return {"recommended": method.refine == plan.recommended and not method.rerank}


def _row(
    method: Method,
    found: Sequence[Metrics],
    *,
    config: EvaluateConfig,
    seconds: float,
    extra: dict[str, object],
) -> ResultRow:
    every = [dict(m.figures) for m in found]  # one for each draw of the landmarks
    for figures, m in zip(every, found, strict=True):  # of a curve that was cut, its last
        figures |= {"mAP": m.mean_ap, "mINP": m.mean_inp} | {f"rank{r}": m.rank(r) for r in RANKS}
    means = {name: float(np.mean([one[name] for one in every])) for name in every[0]}
    drawn = [one.deviation for one in found]  # over drawn galleries; else over landmark draws
    std = {name: float(np.mean([one[name] for one in drawn])) for name in drawn[0]}
    if not std and len(every) > 1:
        std = {name: float(np.std([one[name] for one in every])) for name in every[0]}
    others = {name: means.pop(name) for name in list(means) if name not in FIGURES}
    if others:
        extra = {**extra, "figures": others}
    return ResultRow(
        name=method.name,
        seconds=seconds,
        protocol=method.protocol(config.protocol),
        std=std,
        extra=extra,
        **means,
    )


def summed_up(
    scored: Mapping[str, Scored],
    sets: Sets,
    *,
    plan: Plan,
    dataset: str,
    title: str,
    domain: dict[str, Any] | None = None,
) -> Evaluation:
    """Return the table: the rows by method in the plan's order, and the notes.

    domain: what NFormer found of the gallery, where it refined.
    """
    rows = [scored[method.name].row for method in plan.methods]
    valid = np.isfinite(next(iter(scored.values())).average_precision)
    return Evaluation(
        dataset=dataset,
        title=title,
        protocol=plan.config.protocol,
        seed=plan.config.seed,
        queries=len(sets.query),
        valid_queries=int(valid.sum()),
        gallery=next(iter(scored.values())).gallery,
        rules=plan.rules.name,
        figures=plan.rules.figures,
        peak_rss_mib=max(peak_rss_mib(), *(row.extra["peak_rss_mib"] for row in rows)),
        results=tuple(rows),
        notes=(*plan.notes, *verdict(rows), *what_pays(scored, seed=plan.config.seed)),
        domain=domain,
    )
