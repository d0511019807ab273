"""nformer refine"""

from typing import Annotated

import typer

from pipelines.config import EvaluateConfig, configure

from ..console import TerminalProgress
from ..options import (
    DEFAULT_RUN,
    DeviceOption,
    OverwriteOption,
    RunOption,
    SeedOption,
    SetOption,
    given,
)

DEFAULT = EvaluateConfig()


def command(
    ctx: typer.Context,
    run: RunOption = DEFAULT_RUN,
    protocol: Annotated[
        str,
        typer.Option(metavar="isolated|joint", help="Whether queries see each other (joint)."),
    ] = DEFAULT.protocol,
    neighbours: Annotated[
        int, typer.Option(min=0, help="Neighbours k; 0: as the model was trained.")
    ] = DEFAULT.neighbours,
    landmarks: Annotated[
        str, typer.Option(metavar="random|kmeans|farthest", help="How landmarks are chosen.")
    ] = DEFAULT.landmarks,
    landmark_draws: Annotated[
        int, typer.Option(min=1, help="Draws of the landmarks, for --average-draws.")
    ] = DEFAULT.landmark_draws,
    average_draws: Annotated[
        bool, typer.Option("--average-draws", help="Average the embeddings of all draws.")
    ] = False,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    seed: SeedOption = DEFAULT.seed,
    overwrite: OverwriteOption = False,
) -> None:
    """Refine query and gallery, without scoring them.

    Reads: embeddings.h5 and nformer.pt.

    Writes: refined.h5 in the run's folder.

    Example: nformer refine --run runs/market
    """
    from pipelines.artifacts.run import Run
    from pipelines.stages.refine import refine_run

    names = "protocol neighbours landmarks landmark_draws average_draws seed"
    config = configure("evaluate", settings=settings or (), options=given(ctx, *names.split()))
    progress = TerminalProgress()
    path = refine_run(
        Run(run),
        config=config,
        device=device,
        overwrite=overwrite,
        progress=progress,
    )
    progress.message(f"{path}; next: nformer evaluate --run {run}")
