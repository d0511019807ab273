"""A reproduced table or figure of the paper: its numbers, for terminal, JSON, CSV and report."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..artifacts.run import Run
from ..errors import BadInput, PipelineError

if TYPE_CHECKING:
    from .plots import Plot

FOLDER = "reproduce"
NAMES = (
    *("table1", "table2", "table3", "table4"),
    *("figure4", "figure5", "figure6", "figure7", "equation5", "learning_curve"),
)
Kind = Literal["text", "percent", "points", "count", "number"]
NOTHING = "–"


@dataclass(frozen=True)
class Column:
    """A column: the rows' key, its title, and how its values are shown.

    kind:  "percent" and "points" are fractions of 1, shown in per cent and as a signed difference.
    group: whose figures it holds with others beside it; "": ours.
    """

    key: str
    title: str
    kind: Kind = "text"
    group: str = ""

    @property
    def heading(self) -> str:
        """The title, with the group that it belongs to."""
        return f"{self.group}: {self.title}" if self.group else self.title

    def show(self, value: Any) -> str:
        """Return a value as terminal and report show it."""
        if value is None or value == "":
            return NOTHING
        if self.kind == "text":
            return str(value)
        if self.kind == "count":
            return f"{int(value):,}"
        if self.kind == "number":
            return f"{Decimal(f'{value:.3g}'):z,f}"  # 1,010 and 0.00000928, no exponents
        return f"{100 * value:{'+' if self.kind == 'points' else ''}z.1f}"


@dataclass(frozen=True, kw_only=True)
class TableOrFigure:
    """What `nformer reproduce NAME` found.

    rows:  a dictionary each, by the columns' keys; None where there is nothing to say.
    text:  in a sentence, what the plots show.   notes: how it was made, and what to think of it.
    paper_rows: how many of the last rows are the paper's alone.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    plots: "Sequence[Plot]" = ()
    text: str = ""
    notes: Sequence[str] = field(default=())
    paper_rows: int = 0

    def parts(self) -> "list[TableOrFigure]":
        """Return it as it is shown: the paper's own rows, where there are any, as a second table.

        Each of two has only the columns that its rows fill.
        """
        if not self.paper_rows:
            return [self]
        ours = len(self.rows) - self.paper_rows
        titles = (self.title, f"{self.title.partition(':')[0]} of the paper, all rows")
        return [
            replace(self, title=title, rows=rows, columns=_filled(self.columns, rows), paper_rows=0)
            for title, rows in zip(titles, (self.rows[:ours], self.rows[ours:]), strict=True)
        ]

    def shown(self) -> Iterator[list[str]]:
        """Yield the cells of each row as text."""
        for row in self.rows:
            yield [column.show(row.get(column.key)) for column in self.columns]

    def groups(self) -> list[tuple[str, int]]:
        """Return the columns' groups in a row, and how many columns each has; [] without any."""
        found = [(group, len(list(of))) for group, of in groupby(one.group for one in self.columns)]
        return found if any(group for group, _ in found) else []

    def to_csv(self) -> str:
        """Return the rows as CSV: fractions of 1, every digit; empty where there is nothing."""
        text = StringIO()
        keys = [column.key for column in self.columns]
        writer = csv.DictWriter(text, keys, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    def to_json(self) -> str:
        """Return one JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> "TableOrFigure":
        """Read what `to_json` wrote."""
        from .plots import Plot

        table = json.loads(text)
        table["columns"] = tuple(Column(**column) for column in table["columns"])
        table["plots"] = tuple(Plot.from_table(plot) for plot in table["plots"])
        return TableOrFigure(**table)


def _filled(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    return tuple(one for one in columns if any(row.get(one.key) not in (None, "") for row in rows))


def file_of(name: str) -> str:
    """Return the artifact of a table or figure, by its name in the run's folder."""
    return f"{FOLDER}/{name}.json"


def load_table_or_figure(path: Path) -> TableOrFigure:
    """Read a table or figure; BadInput when it is not ours."""
    try:
        return TableOrFigure.from_json(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(f"{path} holds no table or figure of nformer reproduce ({error})") from error


def tables_and_figures_in(run: Run) -> list[TableOrFigure]:
    """Return the tables and figures of the run's present embeddings, in the paper's order."""
    found = []
    for name in NAMES:
        try:
            found.append(load_table_or_figure(run.artifact(file_of(name))))
        except PipelineError:  # not made, stale or damaged: a report goes without
            continue
    return found
