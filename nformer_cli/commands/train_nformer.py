"""nformer train-nformer: train NFormer on a run's embeddings."""

from typing import Annotated

import typer

from pipelines.config import NFormerConfig

from .. import options
from ..console import TerminalProgress

DEFAULT = NFormerConfig()


def number_or_auto(value: str | int) -> int:
    """Return a number of 1 or more, or 0 for "auto"."""
    text = str(value).strip().lower()
    if text == "auto" or value == DEFAULT.neighbours == 0:
        return 0
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"{value!r} is neither a number of 1 or more nor auto")
    return int(text)


def command(
    ctx: typer.Context,
    run: options.Run = options.DEFAULT_RUN,
    recipe: options.Recipe = None,
    batch: Annotated[int, typer.Option(help="Embeddings a step.")] = DEFAULT.batch,
    closed_form: Annotated[
        bool,
        typer.Option(
            "--closed-form/--no-closed-form",
            "--prior/--no-prior",
            help="Start from a closed form chosen on held-out identities, or train NFormer alone.",
        ),
    ] = DEFAULT.closed_form,
    camera_aware: Annotated[
        str,
        typer.Option(
            metavar="auto|on|off",
            help="Whether the closed form may, must or must not use camera ids.",
        ),
    ] = DEFAULT.camera_aware,
    neighbours: Annotated[
        int,
        typer.Option(
            parser=number_or_auto,
            metavar="K|auto",
            show_default="auto",
            help="Nearest neighbours k of each embedding; auto: chosen (20 without a closed form).",
        ),
    ] = DEFAULT.neighbours,
    landmarks: Annotated[int, typer.Option(help="Landmark agents l.")] = DEFAULT.landmarks,
    layers: Annotated[int, typer.Option(help="Blocks.")] = DEFAULT.layers,
    heads: Annotated[int, typer.Option(help="Attention heads.")] = DEFAULT.heads,
    graph: Annotated[str, typer.Option(metavar="cosine|affinity")] = DEFAULT.graph,
    mask: Annotated[str, typer.Option(metavar="reciprocal|topk|none")] = DEFAULT.mask,
    affinity: Annotated[str, typer.Option(metavar="landmarks|exact")] = DEFAULT.affinity,
    sampler: Annotated[str, typer.Option(metavar="identity|neighbourhood")] = DEFAULT.sampler,
    steps: Annotated[
        int,
        typer.Option(
            parser=number_or_auto,
            metavar="N|auto",
            show_default="auto",
            help="Training steps; auto: about a minute, at most 400 (400 without a closed form).",
        ),
    ] = DEFAULT.steps,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = DEFAULT.lr,
    held_out: Annotated[
        float, typer.Option(help="Share of identities kept for validation.")
    ] = DEFAULT.held_out,
    settings: options.Settings = None,
    device: options.Device = "auto",
    seed: options.Seed = DEFAULT.seed,
    overwrite: options.Overwrite = False,
) -> None:
    """Train NFormer on the cached embeddings.

    It starts from a closed form chosen by cross-validation over the training identities, and keeps
    what NFormer learns where held-out ones gain. Recipes paper and released train it alone.

    Reads: embeddings.h5 (its train split).

    Writes: nformer.pt, and lines of train.jsonl. An interrupted training goes on.

    Example: nformer train-nformer --run runs/market --neighbours 20
    """
    from pipelines import Run, train_nformer

    config, progress = options.config_of(ctx, "nformer"), TerminalProgress()
    path = train_nformer(
        Run(run), config=config, device=device, overwrite=overwrite, progress=progress
    )
    progress.message(f"{path}; next: nformer evaluate")
