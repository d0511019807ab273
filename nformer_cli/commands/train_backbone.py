"""nformer train-backbone DATASET: train the image encoder."""

from typing import Annotated

import typer

from pipelines.config import BackboneConfig, configure

from ..console import TerminalProgress
from ..dataset_options import (
    DEFAULT_ROOT,
    CameraPatternOption,
    CombineAllOption,
    DatasetArgument,
    DistractorsOption,
    RootOption,
    reader_options,
)
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

DEFAULT = BackboneConfig()


def command(
    ctx: typer.Context,
    dataset: DatasetArgument,
    root: RootOption = DEFAULT_ROOT,
    run: RunOption = DEFAULT_RUN,
    recipe: RecipeOption = None,
    arch: Annotated[
        str, typer.Option(help="A torchvision network, abdnet, osnet_x1_0 or timm:NAME.")
    ] = DEFAULT.arch,
    weights: Annotated[
        str, typer.Option(help="imagenet, none, or a state dict's path.")
    ] = DEFAULT.weights,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the images.")] = DEFAULT.epochs,
    batch: Annotated[int, typer.Option(min=2, help="Images a step.")] = DEFAULT.batch,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = DEFAULT.lr,
    height: Annotated[int, typer.Option(min=32, help="Image height.")] = DEFAULT.height,
    width: Annotated[int, typer.Option(min=16, help="Image width.")] = DEFAULT.width,
    eval_every: Annotated[
        int, typer.Option(min=0, help="Epochs between test evaluations; 0: never.")
    ] = DEFAULT.eval_every,
    workers: Annotated[
        int, typer.Option(help="Decoding threads; -1: one a core, at most 16.")
    ] = DEFAULT.workers,
    compile: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False,
    on_bad_image: Annotated[
        str,
        typer.Option(metavar="fail|skip", help="Stop at an unreadable image, or leave it out."),
    ] = DEFAULT.on_bad_image,
    distractors: DistractorsOption = None,
    combine_all: CombineAllOption = False,
    camera_pattern: CameraPatternOption = None,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    seed: SeedOption = DEFAULT.seed,
    overwrite: OverwriteOption = False,
) -> None:
    """Train the backbone on a data set's training images.

    Reads: the data set's folder (its training images).

    Writes: backbone.pt and lines of train.jsonl in the run's folder. An interrupted training goes
    on from its last epoch.

    Example: nformer train-backbone market1501 --root ~/data --run runs/market
    """
    from pipelines import Run, train_backbone

    names = "arch weights epochs batch lr height width eval_every workers compile on_bad_image seed"
    config = configure(
        "backbone",
        recipe=recipe,
        settings=settings or (),
        options=given(ctx, *names.split()),
    )
    progress = TerminalProgress()
    path = train_backbone(
        Run(run),
        dataset,
        root=root,
        config=config,
        device=device,
        overwrite=overwrite,
        progress=progress,
        options=reader_options(
            distractors=distractors, combine_all=combine_all, camera_pattern=camera_pattern
        ),
    )
    progress.message(f"{path}; next: nformer extract")
