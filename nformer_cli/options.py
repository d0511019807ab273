"""Options that several commands share, and which of them the user gave."""

from pathlib import Path
from typing import Annotated, Any

import typer

RunOption = Annotated[
    Path,
    typer.Option("--run", metavar="DIR", envvar="NFORMER_RUN", help="The run's folder."),
]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random choice.")]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace what was made with other settings.")
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe", metavar="NAME|FILE", help="Settings by name (paper, released, …) or a .toml."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; may be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write one JSON object to stdout.")]

DEFAULT_RUN = Path("runs/default")


def given(ctx: typer.Context, *names: str) -> dict[str, Any]:
    """Return the options among `names` that the user gave, so that a recipe keeps the others."""
    found = {}
    for name in names:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            found[name] = ctx.params[name]
    return found
