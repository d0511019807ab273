"""nformer info"""

import typer

from .. import options
from ..console import out
from ..tables import artifacts_table


def command(run: options.Run = options.DEFAULT_RUN, json: options.Json = False) -> None:
    """Show a run's artifacts and which are stale.

    Reads: the manifests in the run's folder, and the files' sizes.

    Writes: nothing.

    Example: nformer info --run runs/market
    """
    from pipelines import Run
    from pipelines.stages.info import info, info_json

    rows = info(Run(run))
    if json:
        typer.echo(info_json(rows))
    else:
        out.print(artifacts_table(run, rows))
