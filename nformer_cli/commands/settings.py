"""nformer settings [STAGE]: list the settings of the stages with their defaults and ranges."""

import dataclasses
import json as json_format
from typing import Annotated

import typer
from rich.markup import escape

from .. import options
from ..console import out
from ..tables import titled_table


def settings(
    stage: Annotated[
        str | None, typer.Argument(help="backbone, extract, pack, nformer or evaluate.")
    ] = None,
    json: options.Json = False,
) -> None:
    """List every setting, its default and range.

    Reads: nothing.

    Writes: nothing. A setting is changed by `--set KEY=VALUE` or in a recipe.

    Example: nformer settings nformer
    """
    from pipelines.config import SECTIONS, require_section, values_of

    if stage is not None:
        require_section(stage)
    found = {
        section: {
            field.name: {"default": field.default, "values": values_of(section, field.name)}
            for field in dataclasses.fields(SECTIONS[section])
        }
        for section in ([stage] if stage else SECTIONS)
    }
    if json:
        typer.echo(json_format.dumps(found))
        return
    for section, rows in found.items():
        table = titled_table(f"[{section}]", ("setting", "default", "values"), words=3)
        for key, row in rows.items():
            table.add_row(
                key, escape(json_format.dumps(row["default"])), escape(str(row["values"]))
            )
        out.print(table)
