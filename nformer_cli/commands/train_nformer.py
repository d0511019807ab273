"""nformer train-nformer"""

from typing import Annotated

import typer

from pipelines.config import NFormerConfig, configure

from ..console import TerminalProgress
from ..options import (
    DEFAULT_RUN,
    DeviceOption,
    OverwriteOption,
    RecipeOption,
    RunOption,
    SeedOption,
    SetOption,
    given,
)

DEFAULT = NFormerConfig()


def command(
    ctx: typer.Context,
    run: RunOption = DEFAULT_RUN,
    recipe: RecipeOption = None,
    batch: Annotated[int, typer.Option(min=2, help="Embeddings a step.")] = DEFAULT.batch,
    neighbours: Annotated[
        int, typer.Option(min=1, help="Nearest neighbours k of each embedding.")
    ] = DEFAULT.neighbours,
    landmarks: Annotated[int, typer.Option(min=1, help="Landmark agents l.")] = DEFAULT.landmarks,
    layers: Annotated[int, typer.Option(min=1, help="Blocks.")] = DEFAULT.layers,
    heads: Annotated[int, typer.Option(min=1, help="Attention heads.")] = DEFAULT.heads,
    graph: Annotated[str, typer.Option(metavar="cosine|affinity")] = DEFAULT.graph,
    mask: Annotated[str, typer.Option(metavar="reciprocal|topk|none")] = DEFAULT.mask,
    affinity: Annotated[str, typer.Option(metavar="landmarks|exact")] = DEFAULT.affinity,
    sampler: Annotated[str, typer.Option(metavar="identity|neighbourhood")] = DEFAULT.sampler,
    steps: Annotated[int, typer.Option(min=1, help="Steps of training.")] = DEFAULT.steps,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = DEFAULT.lr,
    held_out: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of identities kept for validation.")
    ] = DEFAULT.held_out,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    seed: SeedOption = DEFAULT.seed,
    overwrite: OverwriteOption = False,
) -> None:
    """Train NFormer on the cached embeddings.

    Reads: embeddings.h5 (its train split).

    Writes: nformer.pt and lines of train.jsonl in the run's folder. An interrupted training goes on.

    Example: nformer train-nformer --run runs/market --neighbours 20
    """
    from pipelines import Run, train_nformer

    names = (
        "batch neighbours landmarks layers heads graph mask affinity sampler steps lr held_out seed"
    )
    config = configure(
        "nformer",
        recipe=recipe,
        settings=settings or (),
        options=given(ctx, *names.split()),
    )
    progress = TerminalProgress()
    path = train_nformer(
        Run(run), config=config, device=device, overwrite=overwrite, progress=progress
    )
    progress.message(f"{path}; next: nformer evaluate")
