"""nformer demo: run every stage on a small drawn data set."""

from pathlib import Path
from typing import Annotated

import typer

from .. import options
from ..console import TerminalProgress, out
from ..tables import evaluation_table
from .report import write_report


def command(
    run: options.Run = Path("runs/demo"),
    images_only: Annotated[
        Path | None,
        typer.Option("--images-only", metavar="DIR", help="Write just the data set, there."),
    ] = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """Run everything on a small drawn data set.

    Reads: nothing; nothing is downloaded and no GPU is needed. It ends within three minutes on
    two cores.

    Writes: images/ (in Market-1501's layout), backbone.pt, embeddings.h5, nformer.pt, refined.h5,
    metrics.json and report.html in the run's folder. Run again, an interrupted demo goes on.

    Example: nformer demo --run runs/demo
    """
    progress = TerminalProgress()
    if images_only is not None:
        from pipelines.stages.demo import demo_images

        folder = demo_images(images_only, seed=seed, overwrite=overwrite, progress=progress)
        progress.message(f"{folder}; next: nformer train-backbone market1501 --root {folder}")
        return
    progress.message(
        "draw people, train on them, extract, train NFormer, evaluate: two minutes or so"
    )
    from pipelines import Run
    from pipelines.stages.demo import demo

    result = demo(Run(run), seed=seed, device=device, overwrite=overwrite, progress=progress)
    if json:
        typer.echo(result.to_json())
    else:
        out.print(evaluation_table(result))
        write_report(Run(run), progress)
        progress.message(f"everything lies in {run}; nformer info --run {run} lists it")
