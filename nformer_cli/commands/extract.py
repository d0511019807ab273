"""nformer extract: compute the embeddings of a data set's images."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.config import ExtractConfig, configure

from ..console import TerminalProgress
from ..dataset_options import (
    CameraPatternOption,
    CombineAllOption,
    DistractorsOption,
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

DEFAULT = ExtractConfig()


def command(
    ctx: typer.Context,
    run: RunOption = DEFAULT_RUN,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Another data set than the backbone was trained on."),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the images lie now, if they were moved."),
    ] = None,
    onnx: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="An ONNX network to embed with, not backbone.pt."),
    ] = None,
    recipe: RecipeOption = None,
    batch: Annotated[int, typer.Option(min=1, help="Images a step.")] = DEFAULT.batch,
    flip: Annotated[
        bool, typer.Option("--flip", help="Average each image with its mirror.")
    ] = DEFAULT.flip,
    workers: Annotated[
        int, typer.Option(help="Decoding threads; -1: one a core, at most 16.")
    ] = DEFAULT.workers,
    on_bad_image: Annotated[
        str,
        typer.Option(metavar="fail|skip", help="Stop at an unreadable image, or leave it out."),
    ] = DEFAULT.on_bad_image,
    distractors: DistractorsOption = None,
    combine_all: CombineAllOption = False,
    camera_pattern: CameraPatternOption = None,
    settings: SetOption = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Embed every image with the trained backbone.

    Reads: backbone.pt, and the images of the data set it was trained on; with --onnx any network of
    images to embeddings, and the images of --dataset at --root.

    Writes: embeddings.h5 (train, query and gallery; 256 numbers an image). Nothing is drawn at
    random, so --seed changes nothing. An interrupted extraction goes on where it stopped.

    Example: nformer extract --run runs/market --flip
    """
    from pipelines import Run, extract

    config = configure(
        "extract",
        recipe=recipe,
        settings=settings or (),
        options=given(ctx, "batch", "flip", "workers", "on_bad_image"),
    )
    progress = TerminalProgress()
    path = extract(
        Run(run),
        dataset=dataset,
        root=root,
        config=config,
        device=device,
        overwrite=overwrite,
        progress=progress,
        options=reader_options(
            distractors=distractors, combine_all=combine_all, camera_pattern=camera_pattern
        ),
        onnx=onnx,
    )
    progress.message(f"{path}; next: nformer train-nformer")
