"""nformer refine"""

from typing import Annotated

import typer

from pipelines.config import EvaluateConfig

from .. import options
from ..console import TerminalProgress

DEFAULT = EvaluateConfig()


def command(
    ctx: typer.Context,
    run: options.Run = options.DEFAULT_RUN,
    protocol: options.Protocol = DEFAULT.protocol,
    neighbours: Annotated[
        int, typer.Option(help="Neighbours k; 0: as the model was trained.")
    ] = DEFAULT.neighbours,
    landmarks: options.Landmarks = DEFAULT.landmarks,
    landmark_draws: Annotated[
        int, typer.Option(help="Draws of the landmarks, for --average-draws.")
    ] = DEFAULT.landmark_draws,
    average_draws: Annotated[
        bool, typer.Option("--average-draws", help="Average the embeddings of all draws.")
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
    from pipelines.stages.refine import refine_run

    config, progress = options.config_of(ctx, "evaluate"), TerminalProgress()
    path = refine_run(
        Run(run), config=config, device=device, overwrite=overwrite, progress=progress
    )
    progress.message(f"{path}; next: nformer evaluate --run {run}")
