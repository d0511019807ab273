"""nformer report: write a page about a run, report.html."""

from typing import TYPE_CHECKING, Annotated

import typer

from .. import options
from ..console import TerminalProgress

if TYPE_CHECKING:
    from pipelines import Run
    from pipelines.gallery.refinement import GalleryState


def command(
    run: options.Run = options.DEFAULT_RUN,
    examples: Annotated[
        int,
        typer.Option(min=0, help="Queries shown of each kind: gains, losses, random ones."),
    ] = 6,
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
    from pipelines.stages.report import build_report, report, to_json

    progress = TerminalProgress()
    if json:
        found = build_report(Run(run), examples=examples, seed=seed, progress=progress)
        typer.echo(to_json(found))
        return
    path = report(Run(run), examples=examples, seed=seed, progress=progress)
    progress.message(f"{path}; open it in a browser")


def write_report(
    run: "Run", progress: TerminalProgress, *, state: "GalleryState | None" = None
) -> None:
    """Write the report of a run that was just evaluated, unless it stands there already."""
    from pipelines.stages.report import PAGE, is_older, report

    if is_older(run):
        report(run, progress=progress, state=state)
    progress.message(f"{run.path(PAGE)}; open it in a browser")
