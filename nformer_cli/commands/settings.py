"""nformer settings [STAGE]: list the settings of the stages with their defaults and ranges."""

import dataclasses
import json as json_format
from typing import Annotated, Any

import typer
from rich.markup import escape

from .. import options
from ..console import out
from ..tables import titled_table


def settings(
    stage: Annotated[
        str | None, typer.Argument(help="backbone, extract, pack, nformer, evaluate or cluster.")
    ] = None,
    json: options.Json = False,
) -> None:
    """List every setting: default, range, recipes' values.

    Reads: nothing.

    Writes: nothing. A setting is changed by `--set KEY=VALUE` or in a recipe.

    Example: nformer settings nformer
    """
    from pipelines.config import SECTIONS, section_of
    from pipelines.settings import read_recipe, recipe_names, values_of

    chosen = list(SECTIONS) if stage is None else [section_of(stage)]
    recipes = {name: read_recipe(name) for name in recipe_names()}
    found: dict[str, dict[str, dict[str, Any]]] = {
        section: {
            field.name: {
                "default": field.default,
                "values": values_of(section, field.name),
                "recipes": {
                    name: tables[section][field.name]
                    for name, tables in recipes.items()
                    if field.name in tables.get(section, {})
                },
            }
            for field in dataclasses.fields(SECTIONS[section])
        }
        for section in chosen
    }
    if json:
        typer.echo(json_format.dumps(found))
        return
    for section, rows in found.items():
        table = titled_table(
            f"[{section}]", ("setting", "default", "values", "recipes, where they differ"), words=4
        )
        for key, row in rows.items():
            values: dict[str, Any] = row["recipes"]
            others = [
                f"{name} {value}" for name, value in values.items() if value != row["default"]
            ]
            default = json_format.dumps(row["default"])
            table.add_row(key, *map(escape, (default, str(row["values"]), "\n".join(others))))
        out.print(table)
