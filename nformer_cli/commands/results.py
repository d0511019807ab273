"""nformer report, compare, reproduce, info and benchmark"""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import options
from ..console import TerminalProgress, out, say
from ..tables import artifacts_table, comparison_table, notes_to_copy, record_table, reproduced

if TYPE_CHECKING:
    from pipelines import Run
    from pipelines.gallery.refinement import GalleryState


def report(
    run: options.Run = options.DEFAULT_RUN,
    examples: Annotated[
        int,
        typer.Option(min=0, help="Queries shown of each kind: gains, losses, random ones."),
    ] = 6,
    root: options.Moved = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Write the run's results as one page to look at.

    Reads: metrics.json, ranking.h5 and embeddings.h5; refined.h5, nformer.pt, train.jsonl and the
    images where they are there.

    Writes: report.html, which needs no network and no script, and report.csv. With --json: one
    object to stdout instead.

    Example: nformer report --run runs/market
    """
    from pipelines import Run

    progress, opened = TerminalProgress(), Run(run)
    opened.require_manifest("metrics.json")
    from pipelines.stages.early import require_moved

    require_moved(root)
    from pipelines.stages.report import build_report, report, to_json

    if json:
        found = build_report(opened, examples=examples, seed=seed, progress=progress, root=root)
        typer.echo(to_json(found))
        return
    path = report(opened, examples=examples, seed=seed, progress=progress, root=root)
    progress.message(f"{path}; open it in a browser")


def write_report(
    run: "Run", progress: TerminalProgress, *, state: "GalleryState | None" = None
) -> None:
    """Write the report of a run that was just evaluated, unless it stands there already."""
    from pipelines.stages.info import is_older
    from pipelines.stages.report import PAGE, report

    if is_older(run, PAGE):
        report(run, progress=progress, state=state)
    progress.message(f"{run.path(PAGE)}; open it in a browser")


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Runs' folders; the first is the reference."),
    ],
    result: Annotated[
        list[str] | None,
        typer.Option(
            "--result",
            metavar="NAME",
            help="Only this result; may be repeated: the first is the reference.",
        ),
    ] = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Put runs side by side, and say how sure a gain is.

    Reads: metrics.json, ranking.h5 and embeddings.h5 of each run.

    Writes: nothing. The runs must rank the same items with the same labels. Each row's difference
    in mAP is from the first row: the first run's, and of its results the first, or the first
    --result. It has a 95 % interval from a paired bootstrap over the queries; an interval without
    zero is bold.

    Example: nformer compare runs/plain runs/market --result nformer
    """
    from pipelines import Run
    from pipelines.stages.compare import compare

    found = compare([Run(run) for run in runs], results=result or (), seed=seed)
    if json:
        typer.echo(found.to_json())
    else:
        out.print(comparison_table(found, out.width))
        for note in found.notes:
            say(note)


def reproduce(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME",
            help="table1, table2, table3, table4, figure4, figure5, figure6, figure7, "
            "equation5, all; or learning_curve.",
        ),
    ],
    runs: options.Runs = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each variant.")] = 3,
    draws: Annotated[int, typer.Option(min=1, help="Draws of the landmarks, at test.")] = 3,
    steps: Annotated[
        int, typer.Option(min=0, help="Steps of each training; 0: as the recipe has it.")
    ] = 0,
    recipe: options.Recipe = None,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Make the paper's tables and figures for your data.

    Tables 2 and 4 have rows of every --run.

    Reads: embeddings.h5, with a train split; nformer.pt, where there is one, for a row of its own.

    Writes: reproduce/NAME.csv, .json, .svg and .png in the first run's folder, the variants that
    it trained, and report.html. Variants are trained with the settings of the run's own nformer.pt,
    or with those of --recipe. What was trained or measured before is not made again, so an
    interrupted command goes on where it stopped.

    Example: nformer reproduce table1 figure7 --run runs/market
    """
    from pipelines import Run
    from pipelines.reproduction.variants import chosen
    from pipelines.settings import read_recipe

    chosen(names)  # refuses unknown ones
    if recipe:
        read_recipe(recipe)
    opened = [Run(run) for run in runs or [options.DEFAULT_RUN]]
    for one in opened:
        one.require_manifest("embeddings.h5")
    from pipelines import reproduce

    items = reproduce(
        opened,
        names,
        seeds=seeds,
        draws=draws,
        steps=steps,
        recipe=recipe or "",
        device=device,
        progress=TerminalProgress(),
    )
    if json:
        whole = {"exhibits": [json_format.loads(item.to_json()) for item in items]}
        typer.echo(json_format.dumps(whole, ensure_ascii=False))
        return
    said = set[str]()
    for item in items:
        for part in reproduced(item, out.width):
            out.print(part, highlight=False)
        for note in item.notes:
            if note not in said:  # several have the same
                say(note, style="dim")
        said.update(item.notes)


def info(run: options.Run = options.DEFAULT_RUN, json: options.Json = False) -> None:
    """Show a run's artifacts and which are stale.

    Reads: the manifests in the run's folder, and the files' sizes. Pages to look at are listed too.

    Writes: nothing.

    Example: nformer info --run runs/market
    """
    from pipelines import Run
    from pipelines.stages.info import info, info_json

    rows = info(Run(run))
    if json:
        typer.echo(info_json(rows))
    else:
        out.print(artifacts_table(run, rows))
        for note in notes_to_copy(rows):
            say(note)


def benchmark(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which one; none: list them.")] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes, to see that everything runs.")
    ] = False,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIR",
            help="accuracy, clusters: a run, or a folder of embedding files, to measure too; "
            "repeatable.",
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="accuracy, clusters: keep each set's result here, and go on."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="accuracy: draws of each drawn set. Default: 1.")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Write the record that lies beside the benchmark.")
    ] = False,
) -> None:
    """Measure this installation on this machine.

    Reads: nothing; the workloads are made from a seed.

    Writes: a table to stdout; with --record also the benchmark's record, NAME.md beside it.

    Example: nformer benchmark nformer
    """
    from pipelines.benchmarks.registry import BENCHMARKS, measure, record_path
    from pipelines.files import write_text

    if not name:
        for known, about in BENCHMARKS.items():
            out.print(f"[bold]{known}[/]: {about}", highlight=False)
        return
    progress = TerminalProgress()
    found = measure(name, quick=quick, sets=sets or (), keep=keep, seeds=seeds, progress=progress)
    out.print(record_table(found, out.width))
    for note in found.notes:
        out.print(note, highlight=False)
    if record:
        path = record_path(name)
        asked = [" --quick"] * quick + [f" --sets {folder}" for folder in sets or ()]
        asked += [f" --seeds {seeds}"] if seeds else []
        write_text(path, found.markdown(f"nformer benchmark {name}{''.join(asked)}"))
        progress.message(f"{path} written")
