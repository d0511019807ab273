"""nformer export-embeddings FILE: write embeddings for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from .. import options
from ..console import TerminalProgress


def command(
    file: Annotated[Path, typer.Argument(help="Where to: .npz, .npy, .parquet or .mat.")],
    run: options.Run = options.DEFAULT_RUN,
    stage: Annotated[
        str, typer.Option(metavar="raw|refined", help="Before or after refinement.")
    ] = "raw",
    split: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this split; may be repeated.")
    ] = None,
    dtype: Annotated[
        str, typer.Option(metavar="TYPE", help="auto, float16, float32 or float64.")
    ] = "auto",
    overwrite: options.Overwrite = False,
) -> None:
    """Write a run's embeddings for other programs.

    Reads: embeddings.h5 (raw) or refined.h5 (refined).

    Writes: the file named; an .npy gets a .csv of path,pid,camid,split beside it.

    Example: nformer export-embeddings refined.npz --run runs/market --stage refined
    """
    from pipelines import Run, export_embeddings

    progress = TerminalProgress()
    path = export_embeddings(
        Run(run),
        file,
        stage=stage,
        splits=split or (),
        dtype=dtype,
        overwrite=overwrite,
        progress=progress,
    )
    progress.message(f"{path}")
