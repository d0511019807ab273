"""embeddings.h5 + nformer.pt -> refined.h5 -> metrics.json: what refinement and re-ranking bring"""

import resource
import sys
import time
from collections.abc import Callable, Iterator

from ..artifacts.embeddings import load_embeddings, save_embeddings
from ..artifacts.manifest import Manifest
from ..artifacts.nformer import load_nformer
from ..artifacts.results import Evaluation, ResultRow
from ..artifacts.run import Run
from ..config import EvaluateConfig, as_table
from ..embeddings import Embeddings
from ..errors import BadInput
from ..models.refinement import refine
from ..progress import Progress, Silent
from ..retrieval.metrics import Metrics, score
from ..retrieval.rerank import rerank_k_reciprocal

Pair = tuple[Embeddings, Embeddings]  # query and gallery


def evaluate(
    run: Run,
    *,
    config: EvaluateConfig = EvaluateConfig(),
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = Silent(),
) -> Evaluation:
    """Score the baseline and each refinement, with and without each re-ranking.

    Results are replaced when the settings differ: nothing is made from them. An evaluation that
    is up to date is read again, not computed.

    Raises:
        MissingArtifact, StaleArtifact: embeddings.h5 or nformer.pt, with the command for it.
        BadInput: an unknown refiner or re-ranking, no valid query.
    """
    _require_known(config)
    inputs = {"embeddings.h5": run.digest("embeddings.h5")}
    if "nformer" in config.refine:
        inputs["nformer.pt"] = run.digest("nformer.pt")
    wanted = Manifest("metrics.json", "evaluate", as_table(config), inputs)
    if not overwrite and run.holds(wanted):
        progress.message(f"{run.path('metrics.json')} is up to date")
        return Evaluation.read(run.path("metrics.json"))
    result = _measure(run, config, device, progress)
    with run.writing(wanted) as (path, _):
        path.write_text(result.to_json() + "\n", encoding="utf-8")
    return result


def _measure(run: Run, config: EvaluateConfig, device: str, progress: Progress) -> Evaluation:
    path = run.artifact("embeddings.h5")
    query = load_embeddings(path, "query").without_junk()
    gallery = load_embeddings(path, "gallery").without_junk()
    rows, metrics = [], None
    steps = (1 + ("nformer" in config.refine)) * (1 + len(config.rerank))
    with progress.task("evaluate", steps, "rankings") as task:
        for name, pair, seconds in _refined(run, (query, gallery), config, device):
            for row, metrics in _ranked(name, pair, seconds, config):  # noqa: B007
                rows.append(row)
                task.advance()
    assert metrics is not None  # the baseline is always there
    return Evaluation(
        dataset=run.facts("embeddings.h5").get("dataset", ""),
        protocol=config.protocol,
        seed=config.seed,
        queries=metrics.queries,
        valid_queries=metrics.valid_queries,
        gallery=len(gallery),
        peak_rss_mib=peak_rss_mib(),
        results=tuple(rows),
    )


def _refined(
    run: Run, pair: Pair, config: EvaluateConfig, device: str
) -> Iterator[tuple[str, Pair, float]]:
    """Yield the baseline, then each refinement: name, embeddings, seconds it took."""
    yield "baseline", pair, 0.0
    if "nformer" in config.refine:
        begun = time.perf_counter()
        model = load_nformer(run.artifact("nformer.pt"))
        refined = refine(model, *pair, protocol=config.protocol, seed=config.seed)
        seconds = time.perf_counter() - begun
        _keep(run, refined, config)
        yield "nformer", refined, seconds


def _ranked(
    name: str, pair: Pair, seconds: float, config: EvaluateConfig
) -> Iterator[tuple[ResultRow, Metrics]]:
    """Yield the row of the plain cosine ranking, then one for each re-ranking."""
    begun = time.perf_counter()
    metrics = score(*pair)
    yield _row(name, metrics, seconds + time.perf_counter() - begun), metrics
    for method in config.rerank:
        begun = time.perf_counter()
        distances = RERANKINGS[method](*pair, k1=config.k1, k2=config.k2, weight=config.weight)
        metrics = score(*pair, distances=distances)
        yield _row(f"{name}+{method}", metrics, seconds + time.perf_counter() - begun), metrics


RERANKINGS: dict[str, Callable] = {"kr": rerank_k_reciprocal}


def _row(name: str, metrics: Metrics, seconds: float) -> ResultRow:
    def cmc(rank: int) -> float:
        return float(metrics.cmc[min(rank, len(metrics.cmc)) - 1])

    return ResultRow(
        name=name,
        mAP=float(metrics.mean_ap),
        mINP=float(metrics.mean_inp),
        rank1=cmc(1),
        rank5=cmc(5),
        rank10=cmc(10),
        seconds=seconds,
    )


def _keep(run: Run, refined: Pair, config: EvaluateConfig) -> None:
    """Write refined.h5, the same schema as embeddings.h5."""
    inputs = {name: run.digest(name) for name in ("embeddings.h5", "nformer.pt")}
    settings = {key: as_table(config)[key] for key in ("protocol", "seed", "neighbours")}
    wanted = Manifest("refined.h5", "evaluate", settings, inputs)
    dataset = run.facts("embeddings.h5").get("dataset", "")
    with run.writing(wanted) as (path, _):
        save_embeddings(path, query=refined[0], gallery=refined[1], dataset=dataset)


def _require_known(config: EvaluateConfig) -> None:
    for method in config.rerank:
        if method not in RERANKINGS:
            raise BadInput(f"--rerank {method}: unknown; known are {', '.join(RERANKINGS)}")
    for method in config.refine:
        if method not in ("nformer", "none"):
            raise BadInput(f"--refine {method}: unknown; known are nformer, none")


def peak_rss_mib() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
