"""Options of the commands that read a data set's images."""

from pathlib import Path
from typing import Annotated, Any

import typer

DatasetArgument = Annotated[
    str, typer.Argument(help="The data set's name, such as market1501: see nformer datasets.")
]
RootOption = Annotated[
    Path,
    typer.Option(
        "--root",
        metavar="DIR",
        envvar="NFORMER_DATA",
        help="The data set's folder, or its parent; for csv, the table.",
    ),
]
DistractorsOption = Annotated[
    str | None, typer.Option("--distractors", metavar="500k", help="market1501: add the 500k.")
]
CombineAllOption = Annotated[
    bool, typer.Option("--combine-all", help="msmt17: train on list_val as well.")
]
CameraPatternOption = Annotated[
    str | None,
    typer.Option(
        "--camera-pattern", metavar="REGEX", help="folder: its first group is the camera: c(\\d+)."
    ),
]

DEFAULT_ROOT = Path("data")


def reader_options(
    *, distractors: str | None, combine_all: bool, camera_pattern: str | None
) -> dict[str, Any]:
    """Return the options given, as the catalogue's readers take them."""
    given = {
        "distractors": distractors,
        "combine_all": combine_all,
        "camera_pattern": camera_pattern,
    }
    return {name: value for name, value in given.items() if value}
