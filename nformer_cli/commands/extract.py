"""nformer extract: compute the embeddings of a data set's images."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.config import ExtractConfig

from .. import options
from ..console import TerminalProgress

DEFAULT = ExtractConfig()


def command(
    ctx: typer.Context,
    run: options.Run = options.DEFAULT_RUN,
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
    recipe: options.Recipe = None,
    batch: Annotated[int, typer.Option(help="Images a step.")] = DEFAULT.batch,
    flip: Annotated[
        bool, typer.Option("--flip", help="Average each image with its mirror.")
    ] = DEFAULT.flip,
    workers: options.Workers = DEFAULT.workers,
    on_bad_image: options.OnBadImage = DEFAULT.on_bad_image,
    distractors: options.Distractors = None,
    combine_all: options.CombineAll = False,
    camera_pattern: options.CameraPattern = None,
    settings: options.Settings = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
) -> None:
    """Embed every image with the trained backbone.

    Reads: backbone.pt, and the images of the data set it was trained on; with --onnx any network of
    images to embeddings, and the images of --dataset at --root.

    Writes: embeddings.h5 (train, query and gallery; 256 numbers an image). Nothing is drawn at
    random, so --seed changes nothing. An interrupted extraction goes on where it stopped.

    Example: nformer extract --run runs/market --flip
    """
    from pipelines import Run, extract

    progress = TerminalProgress()
    path = extract(
        Run(run),
        dataset=dataset,
        root=root,
        config=options.config_of(ctx, "extract"),
        device=device,
        overwrite=overwrite,
        progress=progress,
        options=options.reader_options(ctx),
        onnx=onnx,
    )
    progress.message(f"{path}; next: nformer train-nformer")
