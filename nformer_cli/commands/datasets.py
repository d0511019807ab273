"""nformer datasets: list the data sets that can be read."""

import json as json_format

import typer

from .. import options
from ..console import out
from ..tables import datasets_table


def command(json: options.Json = False) -> None:
    """List the data sets that can be read.

    Reads: nothing.

    Writes: nothing. Each comes with its published counts, where to get it, its licence and state.

    Example: nformer datasets
    """
    from pipelines.data.catalogue import listing

    rows = listing()
    if json:
        typer.echo(json_format.dumps(rows, ensure_ascii=False))
    else:
        out.print(datasets_table(rows))
