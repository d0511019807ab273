"""nformer subsample: make runs with fewer gallery images of each identity."""

from typing import Annotated

import typer

from pipelines.errors import BadInput

from .. import options
from ..console import TerminalProgress


def command(
    images_per_identity: Annotated[
        str, typer.Option(metavar="N,N,…", help="Gallery images kept of each identity.")
    ] = "5,10,15,20",
    run: options.Run = options.DEFAULT_RUN,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
) -> None:
    """Draw test subsets with fewer images an identity.

    Reads: embeddings.h5, and nformer.pt where there is one.

    Writes: a run for each number below the run's folder, images-per-identity-05 and so on, as in
    the paper's Table 3: evaluate each with nformer evaluate --run.

    Example: nformer subsample --images-per-identity 5,10,15,20 --run runs/market
    """
    from pipelines import Run
    from pipelines.stages.subsample import subsample

    parts = [part.strip() for part in images_per_identity.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise BadInput(
            f"--images-per-identity {images_per_identity}: wanted whole numbers, as in 5,10,15,20"
        )
    progress = TerminalProgress()
    numbers = [int(part) for part in parts]
    folders = subsample(Run(run), numbers, seed=seed, overwrite=overwrite, progress=progress)
    progress.message(f"next: nformer evaluate --run {folders[0]}")
