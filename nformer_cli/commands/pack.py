"""nformer pack NAME: decode and resize a data set's images once, into one file."""

from typing import Annotated

import typer

from pipelines.config import PackConfig

from .. import options
from ..console import TerminalProgress

DEFAULT = PackConfig()


def command(
    ctx: typer.Context,
    dataset: options.Dataset,
    root: options.Root = options.DEFAULT_ROOT,
    run: options.Run = options.DEFAULT_RUN,
    height: Annotated[int, typer.Option(help="Image height.")] = DEFAULT.height,
    width: Annotated[int, typer.Option(help="Image width.")] = DEFAULT.width,
    workers: options.Workers = DEFAULT.workers,
    on_bad_image: options.OnBadImage = DEFAULT.on_bad_image,
    distractors: options.Distractors = None,
    combine_all: options.CombineAll = False,
    camera_pattern: options.CameraPattern = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Decode and resize a data set's images once.

    Reads: the data set's images.

    Writes: images.h5 in the run's folder, which train-backbone and extract then read instead of the
    files, while the list of files and the image size are the same. Nothing else changes by it.

    Example: nformer pack market1501 --root ~/data --run runs/market
    """
    from pipelines import Run
    from pipelines.stages.pack import pack

    progress = TerminalProgress()
    path = pack(
        Run(run),
        dataset,
        root=root,
        config=options.config_of(ctx, "pack"),
        overwrite=overwrite,
        progress=progress,
        options=options.reader_options(ctx),
    )
    progress.message(f"{path}; next: nformer train-backbone {dataset}")
