"""nformer info"""

import typer

from ..console import out
from ..options import DEFAULT_RUN, JsonOption, RunOption
from ..tables import artifacts_table


def command(run: RunOption = DEFAULT_RUN, json: JsonOption = False) -> None:
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
