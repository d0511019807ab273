"""nformer pack NAME: decode and resize a data set's images once, into one file."""

from typing import Annotated

import typer

from pipelines.config import PackConfig

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
from ..options import DEFAULT_RUN, OverwriteOption, RunOption

DEFAULT = PackConfig()


def command(
    dataset: DatasetArgument,
    root: RootOption = DEFAULT_ROOT,
    run: RunOption = DEFAULT_RUN,
    height: Annotated[int, typer.Option(min=8, help="Image height.")] = DEFAULT.height,
    width: Annotated[int, typer.Option(min=8, help="Image width.")] = DEFAULT.width,
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
    overwrite: OverwriteOption = False,
) -> None:
    """Decode and resize a data set's images once.

    Reads: the data set's images.

    Writes: images.h5 in the run's folder, which train-backbone and extract then read instead of the
    files, while the list of files and the image size are the same. Nothing else changes by it.

    Example: nformer pack market1501 --root ~/data --run runs/market
    """
    from pipelines import Run
    from pipelines.config import configure
    from pipelines.stages.pack import pack

    options = {
        "height": height,
        "width": width,
        "workers": workers,
        "on_bad_image": on_bad_image,
    }
    progress = TerminalProgress()
    path = pack(
        Run(run),
        dataset,
        root=root,
        config=configure("pack", options=options),
        overwrite=overwrite,
        progress=progress,
        options=reader_options(
            distractors=distractors, combine_all=combine_all, camera_pattern=camera_pattern
        ),
    )
    progress.message(f"{path}; next: nformer train-backbone {dataset}")
