"""embeddings.h5 + nformer.pt -> refined.h5, graph.h5, ranking.h5 -> metrics.json: what helps"""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..artifacts.embeddings import open_embeddings, save_embeddings, splits_in
from ..artifacts.manifest import Manifest
from ..artifacts.nformer import load_nformer
from ..artifacts.ranking import save_rankings
from ..artifacts.results import Evaluation, ResultRow
from ..artifacts.run import Run
from ..config import EvaluateConfig, as_table
from ..device import choose_device
from ..evaluation.assumptions import assumptions
from ..evaluation.bench import Bench, Cost, keep_graphs
from ..evaluation.peak_memory import PeakMemory, peak_rss_mib
from ..evaluation.plan import AUTO, NFORMER, Method, asked_for, chain, harm, possible, require_known
from ..neighbours.graph import Neighbourhoods
from ..progress import Progress, Silent
from ..ranking.metrics import Metrics, score
from ..ranking.rerankers.registry import RERANKERS, ranked_by
from ..ranking.single_shot import single_shot_cmc
from ..refiners.chain import REFINERS, Pair, refine_chain

FIGURES = ("mAP", "mINP", "rank1", "rank5", "rank10")


def evaluate(
    run: Run,
    *,
    config: EvaluateConfig = EvaluateConfig(),
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = Silent(),
    model: str | Path | None = None,
) -> Evaluation:
    """Score the baseline and what is asked for: refiners, re-rankings, or every one there is.

    Results are replaced when the settings differ: nothing is made from them. An evaluation that
    is up to date is read again, not computed.

    model: an NFormer of another run, which becomes this run's.

    Raises:
        MissingArtifact, StaleArtifact: embeddings.h5 or nformer.pt, with the command for it.
        BadInput: an unknown refiner or re-ranking, or one whose needs are not met; no valid query.
    """
    require_known(config)
    if model is not None:
        from .adopt_nformer import adopt_nformer

        adopt_nformer(run, model, overwrite=overwrite, progress=progress)
    config = _possible_here(run, config, progress)
    inputs = {"embeddings.h5": run.digest("embeddings.h5")}
    has_nformer = NFORMER in chain(config) and not config.every
    open_choice = config.every or chain(config) == (AUTO,)
    if has_nformer or (open_choice and run.manifest("nformer.pt") is not None):
        inputs["nformer.pt"] = run.digest("nformer.pt")
    has_nformer = has_nformer or (config.every and "nformer.pt" in inputs)
    wanted = Manifest("metrics.json", "evaluate", as_table(config), inputs)
    lists = Manifest("ranking.h5", "evaluate", as_table(config), inputs)
    if not overwrite and run.holds(wanted) and run.holds(lists):
        progress.message(f"{run.path('metrics.json')} is up to date")
        return Evaluation.read(run.path("metrics.json"))
    advice = None
    if chain(config) == (AUTO,):
        from ..evaluation.recommend import recommend

        advice = recommend(run, seed=config.seed)
        progress.message(advice.describe())
        config = dataclasses.replace(config, refine=advice.refine or ("none",))
        has_nformer = NFORMER in advice.refine
    bench = Bench.of(run, config, device, progress)
    bench.advice = advice
    result = _measure(run, bench, has_nformer=has_nformer)
    keep_graphs(run, bench)
    with run.writing(lists) as (path, _):
        save_rankings(
            path,
            bench.rankings,
            query_rows=bench.query_rows,
            gallery_rows=bench.gallery_rows,
            average_precision=bench.precision,
        )
    with run.writing(wanted) as (path, _):
        path.write_text(result.to_json() + "\n", encoding="utf-8")
    return result


def _possible_here(run: Run, config: EvaluateConfig, progress: Progress) -> EvaluateConfig:
    """Return the settings; without an NFormer and identities to train one, all that trains none."""
    if NFORMER not in chain(config) or config.every or run.manifest("nformer.pt") is not None:
        return config
    with open_embeddings(run.artifact("embeddings.h5")) as file:
        if "train" in splits_in(file):
            return config
    progress.warn(
        "NFormer needs training identities, which these embeddings have not, or a model from "
        "elsewhere: --model FILE. Every refiner that trains nothing is shown"
    )
    return dataclasses.replace(config, every=True, refine=("none",))


def _measure(run: Run, bench: Bench, *, has_nformer: bool) -> Evaluation:
    near, config = bench.near, bench.config
    methods = asked_for(config, has_nformer=has_nformer)
    notes = [] if has_nformer or not config.every else ["nformer left out: there is no nformer.pt"]
    notes += [bench.advice.describe()] if bench.advice else []
    if config.every:
        methods, left_out = possible(methods, near.query_items, near.gallery_items, bench.train)
        notes += left_out
    notes += assumptions(near.query_items, near.gallery_items)
    rows = []
    with bench.progress.task("evaluate", len(methods), unit="rankings") as task:
        for names in dict.fromkeys(method.refine for method in methods):
            reranked = [method for method in methods if method.refine == names]
            for row in _rows(run, bench, reranked):
                rows.append(row)
                task.advance()
    rows.sort(key=lambda row: [method.name for method in methods].index(row.name))
    notes += harm(rows)
    valid = np.isfinite(next(iter(bench.precision.values())))
    return Evaluation(
        dataset=run.facts("embeddings.h5").get("dataset", ""),
        protocol=config.protocol,
        seed=config.seed,
        queries=len(near.query_items),
        valid_queries=int(valid.sum()),
        gallery=len(near.gallery_items),
        peak_rss_mib=max(peak_rss_mib(), *(row.extra["peak_rss_mib"] for row in rows)),
        results=tuple(rows),
        notes=tuple(notes),
    )


def _rows(run: Run, bench: Bench, methods: Sequence[Method]) -> Iterator[ResultRow]:
    """Yield the rows of one chain of refiners: its cosine ranking and its re-rankings."""
    memory = PeakMemory()
    memory.restart()
    asked = Cost(bench.near)
    begun = time.perf_counter()
    draws = list(_refined(run, bench, methods[0].refine))
    sides = [bench.near.like(*pair) if methods[0].refine else bench.near for pair in draws]
    refining = time.perf_counter() - begun
    refining += asked.already_paid()
    for method in methods:
        costs = [Cost(near) for near in sides]
        begun = time.perf_counter()
        found = [_scored(bench, near, method) for near in sides]
        seconds = (time.perf_counter() - begun + sum(cost.already_paid() for cost in costs)) / len(
            sides
        )
        bench.precision[method.name] = found[0].average_precision
        if found[0].ranking is not None:
            bench.rankings[method.name] = found[0].ranking
        extra = {"peak_rss_mib": round(memory.mib(), 1), **_besides(bench, sides[0], method, found)}
        yield _row(bench, method, found, refining / len(sides) + seconds, extra)
        memory.restart()


def _refined(run: Run, bench: Bench, names: tuple[str, ...]) -> Iterator[Pair]:
    """Yield the refined embeddings of a chain, once for every draw of NFormer's landmarks."""
    config = bench.config
    if NFORMER not in names:
        yield refine_chain(names, bench.near, protocol=config.protocol, train=bench.train)
        return
    from ..evaluation.camera_use import relabelled, shown_to, uses_cameras
    from ..gallery.refinement import average_draws, refine_draws
    from ..nformer.landmarks import landmark_draws

    model = load_nformer(run.artifact("nformer.pt"), device=choose_device(bench.device))
    model.neighbours = config.neighbours or model.neighbours
    both = (bench.near.query_items, bench.near.gallery_items)
    bench.camera_aware = uses_cameras(model, both, config.camera_aware)
    draws, rows = [], []
    for seed in landmark_draws(config.seed, config.landmark_draws):

        def nformer(pair: Pair, seed: int = seed) -> Pair:
            shown = shown_to(pair, aware=bench.camera_aware)
            found = refine_draws(
                model,
                *shown,
                [seed],
                protocol=config.protocol,
                landmarks=config.landmarks,
                near=bench.near if pair[1] is bench.near.gallery_items else None,
                record=lambda chosen: rows.append(chosen.tolist()),
            )
            return relabelled(pair, next(found))

        draws.append(
            refine_chain(
                names,
                bench.near,
                protocol=config.protocol,
                train=bench.train,
                special={NFORMER: nformer},
            )
        )
    if config.average_draws:
        draws = [average_draws(draws)]
    if names == (NFORMER,):
        _keep_refined(run, draws[0], config, landmark_rows=rows)
    yield from draws


def _camera_aware(bench: Bench, method: Method) -> bool:
    """Return whether a method used camera ids, beyond leaving out a query's own camera."""
    named = any(name in REFINERS and REFINERS[name].needs_cameras for name in method.refine)
    named |= bool(method.rerank) and RERANKERS[method.rerank].needs_cameras
    return named or (NFORMER in method.refine and bench.camera_aware)


def _scored(bench: Bench, near: Neighbourhoods, method: Method) -> Metrics:
    config = bench.config
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


def _besides(
    bench: Bench, near: Neighbourhoods, method: Method, found: Sequence[Metrics]
) -> dict[str, object]:
    """Return the figures that only some ask for."""
    config = bench.config
    extra: dict[str, object] = {"camera_aware": _camera_aware(bench, method)}
    if bench.advice is not None:
        extra["recommended"] = method.refine == bench.advice.refine and not method.rerank
    if config.open_set:
        extra["tpr_at_fpr"] = {f"{rate:g}": value for rate, value in found[0].tpr_at_fpr.items()}
    if config.single_shot and not method.rerank:
        cmc = single_shot_cmc(
            near.query_items, near.gallery_items, repeats=config.single_shot, seed=config.seed
        )
        extra["single_shot"] = {f"rank{r}": float(cmc[min(r, len(cmc)) - 1]) for r in (1, 5, 10)}
    return extra


def _row(
    bench: Bench, method: Method, found: Sequence[Metrics], seconds: float, extra: dict
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
        protocol=method.protocol(bench.config.protocol),
        std=std,
        extra=extra,
        **means,
    )


def _keep_refined(
    run: Run, refined: Pair, config: EvaluateConfig, *, landmark_rows: list[list[list[int]]]
) -> None:
    """Write refined.h5, the same schema as embeddings.h5; its facts name each draw's landmarks."""
    inputs = {name: run.digest(name) for name in ("embeddings.h5", "nformer.pt")}
    keys = (
        "protocol",
        "seed",
        "neighbours",
        "landmarks",
        "landmark_draws",
        "average_draws",
        "camera_aware",
    )
    settings = {key: as_table(config)[key] for key in keys}
    dataset = run.facts("embeddings.h5").get("dataset", "")
    with run.writing(Manifest("refined.h5", "evaluate", settings, inputs)) as (path, facts):
        facts.update(dataset=dataset, query=len(refined[0]), gallery=len(refined[1]))
        facts["landmark_rows"] = landmark_rows
        save_embeddings(path, query=refined[0], gallery=refined[1], dataset=dataset)
