"""nformer evaluate, nformer refine"""

from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.config import EvaluateConfig
from pipelines.errors import BadInput

from .. import options
from ..console import TerminalProgress, out, say, tell
from ..following import after_embeddings, command_line, repeated
from ..tables import across_table, evaluation_table
from .results import write_report
from .search import write_index

DEFAULT = EvaluateConfig()


def evaluate(
    ctx: typer.Context,
    runs: options.Runs = None,
    recipe: options.Recipe = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every refiner and re-ranking there is, in one table.")
    ] = DEFAULT.every,
    rerank: Annotated[
        str, typer.Option(metavar="NAMES", help="Re-rankings too: kr, kr-isolated, cajaccard, gnn.")
    ] = "",
    refine: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Refiners, left to right: nformer, aqe, nfc, camera, whiten, gcr; none; or auto: "
            "the one that held-out training identities recommend.",
        ),
    ] = ",".join(DEFAULT.refine),
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The nformer.pt of another run, trained on embeddings of this width.",
        ),
    ] = None,
    protocol: options.Protocol = DEFAULT.protocol,
    rules: options.Rules = DEFAULT.rules,
    k1: Annotated[int, typer.Option(help="kr: how many neighbours are compared.")] = DEFAULT.k1,
    k2: Annotated[int, typer.Option(help="kr: over how many neighbours it averages.")] = DEFAULT.k2,
    weight: Annotated[
        float, typer.Option(help="kr: weight of the original distance.")
    ] = DEFAULT.weight,
    neighbours: Annotated[
        int, typer.Option(help="Neighbours k that NFormer reads; 0: as it was trained.")
    ] = DEFAULT.neighbours,
    camera_aware: Annotated[
        str,
        typer.Option(metavar="auto|on|off", help="Whether NFormer may use camera ids here."),
    ] = DEFAULT.camera_aware,
    assume: options.Assume = DEFAULT.assume,
    landmarks: options.Landmarks = DEFAULT.landmarks,
    landmark_draws: Annotated[
        int, typer.Option(help="Draw the landmarks N times; show mean ± standard deviation.")
    ] = DEFAULT.landmark_draws,
    average_draws: Annotated[
        bool, typer.Option("--average-draws", help="Average the embeddings of the draws.")
    ] = DEFAULT.average_draws,
    search: Annotated[
        str,
        typer.Option(
            metavar="METHOD",
            help="How neighbours are found: auto, exact, numpy, torch, faiss, or approximately: "
            "ivf, hnsw, ivfpq, cagra.",
        ),
    ] = DEFAULT.search,
    top: Annotated[
        int, typer.Option(help="Gallery items kept for each query in ranking.h5.")
    ] = DEFAULT.top,
    max_rank: Annotated[int, typer.Option(help="Length of the CMC curve.")] = DEFAULT.max_rank,
    open_set: Annotated[
        bool,
        typer.Option(
            "--open-set", help="Also the true positive rate where 0.1 % and 1 % of strangers pass."
        ),
    ] = DEFAULT.open_set,
    single_shot: Annotated[
        int,
        typer.Option(help="Score N drawn galleries with one image a person (CUHK03); 0: none."),
    ] = DEFAULT.single_shot,
    will_it_help: Annotated[
        bool,
        typer.Option(
            "--will-it-help", help="First estimate what refinement will gain, without test labels."
        ),
    ] = False,
    settings: options.Settings = None,
    device: options.Device = "auto",
    seed: options.Seed = DEFAULT.seed,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    index: Annotated[
        bool, typer.Option("--index", help="Save index.h5 too, for nformer search.")
    ] = False,
    report: Annotated[
        bool,
        typer.Option("--report/--no-report", help="Write report.html too; never with --json."),
    ] = True,
) -> None:
    """Refine, rank and score query against gallery.

    With several --run, each is evaluated for itself, and one table shows them together: with their
    mean where they are of one data set.

    Reads: embeddings.h5, and nformer.pt where NFormer refines.

    Writes: refined.h5, graph.h5, ranking.h5, metrics.json and report.html in the run's folder;
    with --index also index.h5.

    Example: nformer evaluate --run runs/market --rerank kr
    """
    from pipelines import Run
    from pipelines.artifacts.run import require_different
    from pipelines.evaluation.across_runs import AcrossRuns
    from pipelines.stages.evaluate import evaluate_run, lacks_nformer

    lists: dict[str, Any] = {
        name: tuple(part.strip() for part in names.split(",") if part.strip())
        for name, names in {"rerank": rerank, "refine": refine}.items()
        if options.given(ctx, name)
    }
    config = options.config_of(ctx, "evaluate", **lists)
    opened = [Run(run) for run in runs or [options.DEFAULT_RUN]]
    for one in opened:
        one.require_manifest("embeddings.h5")
    require_different(opened)
    if model is not None:
        from pipelines.stages.early import require_model

        require_model(model, runs=opened)
    common: dict[str, Any] = {"overwrite": overwrite, "progress": TerminalProgress()}
    results, answers = {}, {}
    for one in opened:
        if will_it_help:
            from pipelines.evaluation.foresee import will_it_help as foreseen

            answer = foreseen(one)
            answers[str(one.folder)] = answer.figures()
            tell(answer.describe())
            if model is None and lacks_nformer(one, config):
                common["progress"].message(f"next: {after_embeddings(ctx, one)}")
                continue
        evaluated = evaluate_run(
            one, config=config, device=device, model=model, keep_state=index, **common
        )
        result, state = evaluated.evaluation, evaluated.state
        results[str(one.folder)] = result
        if not json:
            out.print(evaluation_table(result))
            for note in result.notes:
                say(note)
            if report:
                write_report(one, TerminalProgress(), state=state)
        if index:
            # a model of another run is this run's by now
            write_index(
                one.folder, None, seed=config.seed, assume=config.assume, state=state, **common
            )
    if json and not results:
        typer.echo(dumps(answers, ensure_ascii=False))
    elif json and len(results) == 1:
        typer.echo(next(iter(results.values())).to_json())
    elif json:
        typer.echo(AcrossRuns(results).to_json())
    elif len(results) > 1:
        out.print(across_table(AcrossRuns(results)))


def refine(
    ctx: typer.Context,
    run: options.Run = options.DEFAULT_RUN,
    protocol: options.Protocol = DEFAULT.protocol,
    neighbours: Annotated[
        int, typer.Option(help="Neighbours k; 0: as the model was trained.")
    ] = DEFAULT.neighbours,
    assume: options.Assume = DEFAULT.assume,
    landmarks: options.Landmarks = DEFAULT.landmarks,
    landmark_draws: Annotated[
        int, typer.Option(help="Draws of the landmarks, for --average-draws.")
    ] = DEFAULT.landmark_draws,
    average_draws: Annotated[
        bool, typer.Option("--average-draws", help="Average the embeddings of all draws.")
    ] = False,
    cluster: Annotated[
        str,
        typer.Option(
            metavar="local:N|ADDRESS",
            help="Refine in parts on a Ray cluster: N workers that are started here, or those of "
            "a cluster that runs.",
        ),
    ] = "",
    shards: Annotated[
        int,
        typer.Option(min=0, help="--cluster: parts of the gallery; 0: one a worker, or more."),
    ] = 0,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="--cluster: say what it will take, and refine nothing."),
    ] = False,
    settings: options.Settings = None,
    device: options.Device = "auto",
    seed: options.Seed = DEFAULT.seed,
    overwrite: options.Overwrite = False,
) -> None:
    """Refine query and gallery, without scoring them.

    Reads: embeddings.h5 and nformer.pt.

    Writes: refined.h5 in the run's folder.

    Example: nformer refine --run runs/market
    """
    from pipelines.artifacts.run import Run

    config, progress = options.config_of(ctx, "evaluate"), TerminalProgress()
    if cluster:
        from pipelines.distributed.asked import require_cluster, require_done_in_parts

        require_cluster(cluster)
        require_done_in_parts(protocol=config.protocol, search=config.search, device=device)
    elif shards or dry_run:
        raise BadInput("--shards and --dry-run are of --cluster, which refines in parts")
    from pipelines.stages.refine import plan_refinement, refine_run

    if dry_run:
        plan = plan_refinement(Run(run), config=config, cluster=cluster, shards=shards)
        out.print(str(plan), highlight=False)
        return
    path = refine_run(
        Run(run),
        config=config,
        device=device,
        overwrite=overwrite,
        cluster=cluster,
        shards=shards,
        progress=progress,
    )
    same = ("protocol", "neighbours", "assume", "landmarks", "landmark_draws", "average_draws")
    again = repeated(ctx, *same, "settings", "seed", "device")
    progress.message(f"{path}; next: {command_line('evaluate', *again, run=run)}")
