"""nformer compare RUN…: show several runs' results side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from .. import options
from ..console import out
from ..tables import titled_table

if TYPE_CHECKING:
    from pipelines.stages.compare import Comparison


def command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs' folders.")],
    result: Annotated[
        list[str] | None,
        typer.Option("--result", metavar="NAME", help="Only this result; may be repeated."),
    ] = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Put runs side by side, and say how sure a gain is.

    Reads: metrics.json, ranking.h5 and embeddings.h5 of each run.

    Writes: nothing. The runs must rank the same items with the same labels. Each row's difference
    in mAP is from the first row, with a 95 % interval from a paired bootstrap over the queries; an
    interval without zero is bold.

    Example: nformer compare runs/plain runs/market --result nformer
    """
    from pipelines import Run
    from pipelines.stages.compare import compare

    found = compare([Run(run) for run in runs], results=result or (), seed=seed)
    if json:
        typer.echo(found.to_json())
    else:
        out.print(comparison_table(found))
        for note in found.notes:
            out.print(escape(note), highlight=False)


def comparison_table(found: "Comparison") -> Table:
    """Show a comparison's rows in per cent, and differences in points."""
    title = f"{found.dataset or 'embeddings'}: the same {found.queries:,} queries"
    columns = ("run", "", "mAP", "R-1", "Δ mAP", "95 % interval")
    table = titled_table(title, columns, words=2, no_wrap=True)
    table.columns[0].no_wrap = False
    for row in found.rows:
        change, interval = "", ""
        if row.difference is not None:
            mean, low, high = (100 * value for value in row.difference)
            change, interval = f"{mean:+.1f}", f"{low:+.1f} … {high:+.1f}"
            if row.difference.certain:
                change, interval = f"[bold]{change}[/]", f"[bold]{interval}[/]"
        figures = (f"{100 * row.result.mAP:.1f}", f"{100 * row.result.rank1:.1f}")
        joint = " [dim](joint)[/]" if row.result.protocol == "joint" else ""
        table.add_row(escape(row.run), row.result.name + joint, *figures, change, interval)
    return table
