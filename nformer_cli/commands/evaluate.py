"""nformer evaluate"""

from typing import Annotated

import typer

from pipelines.config import EvaluateConfig, configure

from ..console import TerminalProgress, out
from ..options import (
    DEFAULT_RUN,
    DeviceOption,
    JsonOption,
    OverwriteOption,
    RecipeOption,
    RunOption,
    SeedOption,
    SetOption,
    given,
)
from ..tables import evaluation_table

DEFAULT = EvaluateConfig()


def command(
    ctx: typer.Context,
    run: RunOption = DEFAULT_RUN,
    recipe: RecipeOption = None,
    rerank: Annotated[
        str, typer.Option(metavar="NAMES", help="Re-ranking too: kr (k-reciprocal).")
    ] = "",
    refine: Annotated[
        str, typer.Option(metavar="NAMES", help="Refiners: nformer, or none.")
    ] = ",".join(DEFAULT.refine),
    protocol: Annotated[
        str,
        typer.Option(metavar="isolated|joint", help="Whether queries see each other (joint)."),
    ] = DEFAULT.protocol,
    k1: Annotated[int, typer.Option(min=1, help="Re-ranking: neighbours.")] = DEFAULT.k1,
    k2: Annotated[int, typer.Option(min=1, help="Re-ranking: local expansion.")] = DEFAULT.k2,
    weight: Annotated[
        float, typer.Option(min=0, max=1, help="Re-ranking: weight of the original distance.")
    ] = DEFAULT.weight,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    seed: SeedOption = DEFAULT.seed,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> None:
    """Refine, rank and score query against gallery.

    Reads: embeddings.h5 and nformer.pt.

    Writes: refined.h5, ranking.h5 and metrics.json in the run's folder.

    Example: nformer evaluate --run runs/market --rerank kr
    """
    from pipelines import Run, evaluate

    options = given(ctx, "protocol", "k1", "k2", "weight", "seed")
    for name, names in given(ctx, "rerank", "refine").items():
        options[name] = tuple(part.strip() for part in names.split(",") if part.strip())
    config = configure("evaluate", recipe=recipe, settings=settings or (), options=options)
    result = evaluate(
        Run(run), config=config, device=device, overwrite=overwrite, progress=TerminalProgress()
    )
    if json:
        typer.echo(result.to_json())
    else:
        out.print(evaluation_table(result))
