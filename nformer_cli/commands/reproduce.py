"""nformer reproduce: make the paper's tables and figures again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from .. import options
from ..console import TerminalProgress, out

if TYPE_CHECKING:
    from rich.console import JustifyMethod

    from pipelines.reporting.tables_and_figures import TableOrFigure

LONGEST = 40  # rows of a table on a terminal: t-SNE's points are for the file


def command(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME",
            help="table1, table2, table3, table4, figure4, figure5, figure6, figure7, or all.",
        ),
    ],
    runs: Annotated[
        list[Path] | None,
        typer.Option(
            "--run",
            metavar="DIR",
            envvar="NFORMER_RUN",
            help="The run's folder; repeated, tables 2 and 4 have rows of each.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each variant.")] = 3,
    draws: Annotated[int, typer.Option(min=1, help="Draws of the landmarks, at test.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each training.")] = 60,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Make the paper's tables and figures for your data.

    Reads: embeddings.h5, with a train split; nformer.pt, where there is one, for a row of its own.

    Writes: reproduce/NAME.csv, .json, .svg and .png in the first run's folder, the variants that
    it trained, and report.html. What was trained or measured before is not made again, so an
    interrupted command goes on where it stopped.

    Example: nformer reproduce table1 figure7 --run runs/market
    """
    import json as text

    from pipelines import reproduce

    items = reproduce(
        runs or [options.DEFAULT_RUN],
        names,
        seeds=seeds,
        draws=draws,
        steps=steps,
        device=device,
        progress=TerminalProgress(),
    )
    if json:
        whole = {"exhibits": [text.loads(item.to_json()) for item in items]}
        typer.echo(text.dumps(whole, ensure_ascii=False))
        return
    for item in items:
        show(item)
    notes = dict.fromkeys(note for item in items for note in item.notes)
    for note in notes:  # several have the same: each is said once
        out.print(f"[dim]{escape(note)}[/]", highlight=False)


def show(item: "TableOrFigure") -> None:
    """Print a table, or as a list of its columns where the terminal is too narrow."""
    rows, titles = list(item.shown()), [column.title for column in item.columns]
    widths = [max(map(len, column)) + 2 for column in zip(titles, *rows, strict=True)]
    if len(rows) > LONGEST:
        out.print(f"\n[bold]{escape(item.title)}[/]", highlight=False)
    elif sum(widths) <= out.width:
        table = Table(title=escape(item.title), title_justify="left", box=box.SIMPLE_HEAD)
        for column in item.columns:
            justify: JustifyMethod = "left" if column.kind == "text" else "right"
            table.add_column(escape(column.title), justify=justify, no_wrap=True)
        for row in rows:
            table.add_row(*map(escape, row))
        out.print(table)
    else:
        out.print(f"\n[bold]{escape(item.title)}[/]", highlight=False)
        for first, *others in rows:
            cells = [f"{t} {c}" for t, c in zip(titles[1:], others, strict=True) if c != "–"]
            out.print(f"[bold]{escape(first)}[/]: {escape(', '.join(cells))}", highlight=False)
    out.print(escape(item.text), highlight=False)
