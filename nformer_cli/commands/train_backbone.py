"""nformer train-backbone DATASET: train the image encoder."""

from typing import Annotated

import typer

from pipelines.config import BackboneConfig

from .. import options
from ..console import TerminalProgress

DEFAULT = BackboneConfig()


def command(
    ctx: typer.Context,
    dataset: options.Dataset,
    root: options.Root = options.DEFAULT_ROOT,
    run: options.Run = options.DEFAULT_RUN,
    recipe: options.Recipe = None,
    arch: Annotated[
        str, typer.Option(help="A torchvision network, abdnet, osnet_x1_0 or timm:NAME.")
    ] = DEFAULT.arch,
    weights: Annotated[
        str, typer.Option(help="imagenet, none, or a state dict's path.")
    ] = DEFAULT.weights,
    epochs: Annotated[int, typer.Option(help="Passes over the images.")] = DEFAULT.epochs,
    batch: Annotated[int, typer.Option(help="Images a step.")] = DEFAULT.batch,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = DEFAULT.lr,
    height: Annotated[int, typer.Option(help="Image height.")] = DEFAULT.height,
    width: Annotated[int, typer.Option(help="Image width.")] = DEFAULT.width,
    eval_every: Annotated[
        int, typer.Option(help="Epochs between test evaluations; 0: never.")
    ] = DEFAULT.eval_every,
    workers: options.Workers = DEFAULT.workers,
    compile: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False,
    on_bad_image: options.OnBadImage = DEFAULT.on_bad_image,
    distractors: options.Distractors = None,
    combine_all: options.CombineAll = False,
    camera_pattern: options.CameraPattern = None,
    settings: options.Settings = None,
    device: options.Device = "auto",
    seed: options.Seed = DEFAULT.seed,
    overwrite: options.Overwrite = False,
) -> None:
    """Train the backbone on a data set's training images.

    Reads: the data set's folder (its training images).

    Writes: backbone.pt and lines of train.jsonl in the run's folder. An interrupted training goes
    on from its last epoch.

    Example: nformer train-backbone market1501 --root ~/data --run runs/market
    """
    from pipelines import Run, train_backbone

    progress = TerminalProgress()
    path = train_backbone(
        Run(run),
        dataset,
        root=root,
        config=options.config_of(ctx, "backbone"),
        device=device,
        overwrite=overwrite,
        progress=progress,
        options=options.reader_options(ctx),
    )
    progress.message(f"{path}; next: nformer extract")
