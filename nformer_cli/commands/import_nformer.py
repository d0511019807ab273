"""nformer import-nformer FILE: read a checkpoint of the authors' code into a run."""

from pathlib import Path
from typing import Annotated

import typer

from .. import options
from ..console import TerminalProgress


def command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The authors' checkpoint (.pt, .pth).")
    ],
    run: options.Run = options.DEFAULT_RUN,
    neighbours: Annotated[int, typer.Option(min=1, help="Neighbours k.")] = 20,
    landmarks: Annotated[int, typer.Option(min=1, help="Landmark agents l.")] = 5,
    heads: Annotated[int, typer.Option(min=1, help="Attention heads.")] = 2,
    overwrite: options.Overwrite = False,
) -> None:
    """Bring an NFormer of the released code into a run.

    Reads: a state dict with h.*, bottleneck.* and classifier.*, with or without nformer. before
    them. No code of the file is run.

    Writes: nformer.pt in the run's folder, which evaluate reads as always.

    Example: nformer import-nformer NFormer_market.pth --run runs/market
    """
    from pipelines.artifacts.run import Run
    from pipelines.stages.import_nformer import import_nformer

    progress = TerminalProgress()
    path = import_nformer(
        Run(run),
        file,
        neighbours=neighbours,
        landmarks=landmarks,
        heads=heads,
        overwrite=overwrite,
        progress=progress,
    )
    progress.message(f"{path}; next: nformer evaluate --run {run}")
