"""Refined sets -> each method's ranking, its figures, and its row of the table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..artifacts.results import Evaluation, ResultRow
from ..config import EvaluateConfig
from ..neighbours.graph import Neighbourhoods
from ..ranking.metrics import Metrics, Ranking, score
from ..ranking.rerankers.registry import RERANKERS, ranked_by
from ..ranking.single_shot import single_shot_cmc
from ..refiners.chain import REFINERS
from .peak_memory import PeakMemory, peak_rss_mib
from .plan import NFORMER, Method, Plan, verdict
from .refining import Refined
from .sets import Sets, Stopwatch
from .worth import what_pays

FIGURES = ("mAP", "mINP", "rank1", "rank5", "rank10")


@dataclass(frozen=True, eq=False)
class Scored:
    """One method's row, the lists that it was counted from, and each query's average precision.

    Lists and average precision, [Q], are those of the first draw of the landmarks.
    """

    row: ResultRow
    ranking: Ranking | None
    average_precision: np.ndarray


def score_methods(
    methods: Sequence[Method],
    sets: Sets,
    *,
    refined: Refined,
    plan: Plan,
    memory: PeakMemory,
) -> Iterator[Scored]:
    """Yield the cosine ranking and the re-rankings of one chain of refiners, scored.

    memory: watched since before the chain refined.
    """
    config = plan.config
    sides = [sets.near.like(*pair) if methods[0].refine else sets.near for pair in refined.pairs]
    for method in methods:
        watches, found = [], []
        for near in sides:
            watch = Stopwatch(near)
            found.append(_scored(near, method, config=config))
            watches.append(watch.seconds())
        seconds = (refined.seconds + sum(watches)) / len(sides)
        extra = {
            "peak_rss_mib": round(memory.mib(), 1),
            "added_mib": round(memory.added_mib(), 1),
            "camera_aware": _camera_aware(method, refined),
            **({"kind": refined.kind} if refined.kind else {}),
            **_recommended(method, plan),
            **_besides(sides[0], method, found=found[0], config=config),
        }
        row = _row(method, found, config=config, seconds=seconds, extra=extra)
        yield Scored(row, found[0].ranking, found[0].average_precision)
        memory.restart()


def _scored(near: Neighbourhoods, method: Method, *, config: EvaluateConfig) -> Metrics:
    distances = None
    if method.rerank:
        distances = ranked_by(method.rerank, near, k1=config.k1, k2=config.k2, weight=config.weight)
    return score(
        near.query_items,
        near.gallery_items,
        distances=distances,
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


def _besides(
    near: Neighbourhoods, method: Method, *, found: Metrics, config: EvaluateConfig
) -> dict[str, object]:
    """Return the figures that only some ask for."""
    extra: dict[str, object] = {}
    if config.open_set:
        extra["tpr_at_fpr"] = {f"{rate:g}": value for rate, value in found.tpr_at_fpr.items()}
    if config.single_shot and not method.rerank:
        cmc = single_shot_cmc(
            near.query_items, near.gallery_items, repeats=config.single_shot, seed=config.seed
        )
        extra["single_shot"] = {f"rank{r}": float(cmc[min(r, len(cmc)) - 1]) for r in (1, 5, 10)}
    return extra


def _row(
    method: Method,
    found: Sequence[Metrics],
    *,
    config: EvaluateConfig,
    seconds: float,
    extra: dict[str, object],
) -> ResultRow:
    every = [
        (m.mean_ap, m.mean_inp, m.rank(1), m.rank(5), m.rank(10))
        for m in found  # one for each draw of the landmarks
    ]
    means = dict(zip(FIGURES, np.mean(every, axis=0).tolist(), strict=True))
    std = dict(zip(FIGURES, np.std(every, axis=0).tolist(), strict=True)) if len(every) > 1 else {}
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
    domain: dict[str, Any] | None = None,
) -> Evaluation:
    """Return the table: the rows by method in the plan's order, and the notes.

    domain: what NFormer found of the gallery, where it refined.
    """
    rows = [scored[method.name].row for method in plan.methods]
    valid = np.isfinite(next(iter(scored.values())).average_precision)
    return Evaluation(
        dataset=dataset,
        protocol=plan.config.protocol,
        seed=plan.config.seed,
        queries=len(sets.query),
        valid_queries=int(valid.sum()),
        gallery=len(sets.gallery),
        peak_rss_mib=max(peak_rss_mib(), *(row.extra["peak_rss_mib"] for row in rows)),
        results=tuple(rows),
        notes=(*plan.notes, *verdict(rows), *what_pays(scored, seed=plan.config.seed)),
        domain=domain,
    )
