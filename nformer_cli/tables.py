"""Results as tables for the terminal."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from .console import COMMAND

if TYPE_CHECKING:
    from pipelines.artifacts.results import Evaluation, ResultRow
    from pipelines.benchmarks.record import Record
    from pipelines.evaluation.across_runs import AcrossRuns
    from pipelines.gallery.answers import Answer, SearchResult
    from pipelines.reporting.tables_and_figures import Column, TableOrFigure
    from pipelines.stages.check_data import DataReport
    from pipelines.stages.cluster import Clustered
    from pipelines.stages.compare import Comparison
    from pipelines.stages.info import ArtifactInfo

WIDEST = 4  # methods of a table across runs
WIDTH_OF_ALL = 10_000  # columns, to measure a table that nothing cuts
LONGEST = 40  # rows of a table on a terminal: t-SNE's points are for the file


class TitledTable(Table):
    """A table between a line above and one below it, which are as wide as the terminal."""

    above, below = "", ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.above, style="table.title")
        yield from super().__rich_console__(console, options)
        if self.below:
            yield Text(self.below, style="table.below")


def titled_table(
    title: str, columns: Iterable[str], *, words: int = 1, no_wrap: bool = False, **style: Any
) -> TitledTable:
    """Return a table to fill, of which the first `words` columns hold words, the others numbers."""
    table = TitledTable(**style)
    table.above = title
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < words else "right", no_wrap=no_wrap)
    return table


def evaluation_table(result: "Evaluation") -> Table:
    """Show an evaluation's rows in per cent, the best of each column in bold."""
    from pipelines.artifacts.results import short_title

    columns = {name: short_title(name) for name in result.figures}
    table = titled_table(
        f"{result.title or result.dataset or 'embeddings'}: {result.protocol} protocol, rules "
        f"{result.rules}, seed {result.seed}",
        ("", *columns.values(), *_open_set(result.results[0]), "sec", "MiB"),
        no_wrap=True,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.below = (
        f"{result.valid_queries:,} of {result.queries:,} queries have a match among "
        f"{result.gallery:,} gallery items"
    )
    best = {key: max(row.figure(key) for row in result.results) for key in columns}
    for row in result.results:
        cells = [_cell(row, key, best=best[key]) for key in columns]
        cells += [f"{100 * rate:.1f}" for rate in _open_set(row).values()]
        cells += [f"{row.seconds:.1f}", f"{row.extra.get('added_mib', 0):,.0f}"]
        mixed = row.protocol not in ("", result.protocol)
        table.add_row(row.label + f" [dim]({row.protocol})[/]" * mixed, *cells)
    return table


def across_table(across: "AcrossRuns") -> Table:
    """Show each run's mAP, its difference from the first, and the mean over runs of one data set.

    Of more than `WIDEST` methods, the baseline and those with the highest mean are shown.
    """
    means = across.means
    names = sorted(means, key=lambda name: (name != "baseline", -means[name]["mAP"]))[:WIDEST]
    names = [name for name in means if name in names]
    labels = next(iter(across.results.values())).labels
    domains = any(result.domain for result in across.results.values())
    table = titled_table(
        "mAP in %, and its difference from the first run",
        ("run", *(labels[name] for name in names), *(["gallery"] if domains else [])),
        box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    table.columns[0].overflow = "fold"
    for number, (folder, result) in enumerate(across.results.items()):
        gaps = across.gaps[folder]
        cells = [
            f"{100 * result.row(name).mAP:.1f}"
            + (f" [dim]{-100 * gaps[name]:+.1f}[/]" if number else "")
            for name in names
        ]
        words = [result.domain["words"] if result.domain else "–"] if domains else []
        table.add_row(escape(folder), *cells, *words)
    if not across.one_set:
        table.below = (
            "The runs are of different data sets: a difference also holds how hard each set is, "
            "and no mean is shown."
        )
        return table
    over = [
        f"{100 * means[name]['mAP']:.1f} ± {100 * means[name]['mAP_std']:.1f}" for name in names
    ]
    table.add_section()
    table.add_row("mean ± deviation", *over)
    return table


def _cell(row: "ResultRow", key: str, *, best: float) -> str:
    """Show one figure in per cent, the best in bold, with its deviation where there is one."""
    value = row.figure(key)
    text = f"{100 * value:.1f}" + (f" ± {100 * row.std[key]:.1f}" if key in row.std else "")
    return f"[bold]{text}[/]" if value == best else text


def _open_set(row: "ResultRow") -> dict[str, float]:
    """Return the titles and values of the open-set figures, where they were asked for."""
    rates = row.extra.get("tpr_at_fpr", {})
    return {f"T@{100 * float(rate):g}%": value for rate, value in rates.items()}


def artifacts_table(folder: Path, rows: "Sequence[ArtifactInfo]") -> Table:
    """Show a run's artifacts: what each was made from, and its state.

    A note with a command is not in the table, whose cells would break it: see `notes_to_copy`.
    """
    columns = ("artifact", "state", "size")
    table = titled_table(f"{folder}", columns, words=3, no_wrap=True, box=box.SIMPLE_HEAD)
    table.add_column("made by", overflow="fold")
    colours = {
        "whole": "green",
        "not yet": "dim",
        "missing": "red",
        "stale": "yellow",
        "damaged": "red",
        "begun": "yellow",
    }
    for row in rows:
        made_by = f"nformer {row.command}"
        if row.inputs:
            made_by += f" from {', '.join(row.inputs)}"
        parts = [] if row.state in ("not yet", "missing") else [made_by]
        if row.note and not COMMAND.search(row.note):
            parts.append(f"[dim]{escape(row.note)}[/]")
        size = f"{row.bytes / 2**20:.1f} MiB" if row.bytes else "–"
        state = f"[{colours[row.state]}]{row.state}[/]"
        table.add_row(row.name, state, size, "\n".join(parts))
    return table


def notes_to_copy(rows: "Sequence[ArtifactInfo]") -> list[str]:
    """Return the notes that name a command to type, each behind its artifact's name."""
    return [f"{row.name}: {row.note}" for row in rows if COMMAND.search(row.note)]


def counts_table(title: str, facts: Mapping[str, Any]) -> Table:
    """Show what an import found: rows, identities and cameras, split by split."""
    from pipelines.embeddings import SPLITS

    columns = ("split", "rows", "identities", "cameras", "dropped")
    table = titled_table(f"{title or 'embeddings'}: {facts['dim']} numbers a row", columns)
    for split in filter(facts["counts"].get, SPLITS):
        rows = facts["counts"][split]
        cameras = facts["cameras"][split] or "none known"
        people, dropped = facts["identities"][split], facts["dropped"][split]
        table.add_row(split, f"{rows:,}", f"{people:,}", f"{cameras}", f"{dropped:,}")
    return table


def data_table(report: "DataReport") -> Table:
    """Show a data set's images, identities and cameras, with the published ones beside them."""
    columns = ("split", "images", "identities", "cameras")
    table = titled_table(
        f"{report.dataset} at {report.place}", ("split", report.unit, *columns[2:])
    )
    for split, counts in report.splits.items():
        cells = []
        for key in columns[1:]:
            published = counts["published"]
            differs = published and published[key] != counts[key]
            cells.append(f"{counts[key]:,}" + (f" [dim]({published[key]:,})[/]" if differs else ""))
        table.add_row(split, *cells)
    notes = [f"{report.junk:,} junk images left out"] if report.junk else []
    if any(counts["published"] for counts in report.splits.values()):
        notes.append("in brackets: the published count, where it differs")
    table.below = "; ".join(notes)
    return table


COLOURS = {"error": "red", "warning": "yellow", "note": "dim"}  # of what a check found


def findings_table(report: "DataReport") -> Table:
    """Show what a check found, the errors first."""
    table = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    table.add_column("level", no_wrap=True)
    table.add_column("what", overflow="fold")
    for finding in sorted(report.findings, key=lambda finding: [*COLOURS].index(finding.level)):
        colour = COLOURS[finding.level]
        text = escape(finding.what)
        if finding.names:
            rest = finding.count - len(finding.names)
            listed = escape(", ".join(finding.names)) + (f" and {rest:,} more" if rest else "")
            text += f" ({finding.count:,})\n[dim]{listed}[/]"
        table.add_row(f"[{colour}]{finding.level}[/]", text)
    if not report.errors:
        table.add_row("[green]good[/]", "no errors")
    return table


def datasets_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Show the catalogue: names, published counts, licence and state."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("what, where from, and its licence", overflow="fold")
    table.add_column("images, identities", justify="right")
    for row in rows:
        lines = [escape(row["title"]), escape(row["url"]), escape(row["licence"])]
        about = "\n".join(line for line in lines if line) + f"\n[dim]{escape(row['state'])}[/]"
        if row["rules"] != "market1501":
            about += f"\n[dim]--rules {row['rules']}[/]"
        counts = [
            f"{split} " + ", ".join("–" if one is None else f"{one:,}" for one in numbers[:2])
            for split, numbers in row["counts"].items()
        ]
        table.add_row(row["name"], about, "\n".join(counts))
    return table


def record_table(record: "Record", width: int) -> "Table | Text":
    """Show what a benchmark measured: a table where `width` columns hold it, else a list."""
    table = fitting_table(record.title, record.columns, rows=record.rows, width=width)
    if table is not None:
        return table
    text = Text(f"{record.title}\n", style="bold")
    for name, *cells in record.rows:
        text.append(f"\n{name}\n", style="bold")
        for title, cell in zip(record.columns[1:], cells, strict=True):
            text.append(f"    {title}: {cell}\n", style="not bold")
    return text


def fitting_table(
    title: str, columns: Sequence[str], *, rows: Sequence[Sequence[str]], width: int
) -> Table | None:
    """Return a table of text, or None where it takes more than `width` columns."""
    cells = zip(columns, *rows, strict=True)
    if sum(max(map(cell_len, column)) + 2 for column in cells) > width:
        return None
    table = titled_table(title, map(escape, columns), no_wrap=True, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def comparison_table(found: "Comparison", width: int) -> Table:
    """Show a comparison's rows in per cent, and differences in points.

    Where `width` columns do not hold the runs' names beside them, letters stand for them.
    """
    names = {row.run: row.run for row in found.rows}
    table = _compared(found, names)
    if Console(width=WIDTH_OF_ALL).measure(table).maximum <= width:
        return table
    names = {run: _letter(number) for number, run in enumerate(names)}
    table = _compared(found, names)
    table.below = "\n".join(f"{letter}: {run}" for run, letter in names.items())
    return table


def _letter(number: int) -> str:
    """Return A, B, … Z, then A2, B2, …"""
    return chr(ord("A") + number % 26) + (str(number // 26 + 1) if number >= 26 else "")


def _compared(found: "Comparison", names: Mapping[str, str]) -> TitledTable:
    title = f"{found.dataset or 'embeddings'}: the same {found.queries:,} queries, {found.rules}"
    columns = ("run", "result", "mAP", "R-1", "Δ mAP", "95 % interval")
    table = titled_table(title, columns, words=2, no_wrap=True)
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    for row in found.rows:
        change, interval = "", ""
        if row.difference is not None:
            mean, low, high = (100 * value for value in row.difference)
            change, interval = f"{mean:+.1f}", f"{low:+.1f} … {high:+.1f}"
            if row.difference.certain:
                change, interval = f"[bold]{change}[/]", f"[bold]{interval}[/]"
        figures = (f"{100 * row.result.mAP:.1f}", f"{100 * row.result.rank1:.1f}")
        joint = " [dim](joint)[/]" if row.result.protocol == "joint" else ""
        table.add_row(escape(names[row.run]), row.result.label + joint, *figures, change, interval)
    for one in found.paper:
        table.add_row(one.method, "", f"{100 * one.mAP:.1f}", f"{100 * one.rank1:.1f}", "", "")
    return table


def reproduced(item: "TableOrFigure", width: int) -> Iterator[RenderableType]:
    """Show a table of the paper, or a list of its columns where they take more than `width`."""
    for part in item.parts():
        rows, titles = list(part.shown()), [column.heading for column in part.columns]
        table = None
        if len(rows) <= LONGEST:
            table = fitting_table(part.title, titles, rows=rows, width=width)
        if table is not None:
            for column, shown in zip(part.columns, table.columns, strict=True):
                shown.justify = "left" if column.kind == "text" else "right"
            yield table
        else:
            yield f"\n[bold]{escape(part.title)}[/]"
            for first, *others in rows if len(rows) <= LONGEST else ():
                yield f"[bold]{escape(first)}[/]: {escape(in_words(part.columns[1:], others))}"
    yield escape(item.text)


def in_words(columns: "Sequence[Column]", cells: Sequence[str]) -> str:
    """Return cells with their titles, a group's after its name: `mAP 48.5; paper: mAP 83.5`."""
    groups: dict[str, list[str]] = {}
    for column, cell in zip(columns, cells, strict=True):
        if cell != "–":
            groups.setdefault(column.group, []).append(f"{column.title} {cell}")
    return "; ".join(f"{group}: " * bool(group) + ", ".join(of) for group, of in groups.items())


def answer_table(answer: "Answer", result: "SearchResult") -> Table:
    """Show what a search found for one query, and which items lent it weight."""
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    hits = answer.hits
    columns = {"rank": [str(hit.rank) for hit in hits], "name": [escape(hit.name) for hit in hits]}
    for column, labels in (
        ("pid", [hit.identity for hit in hits]),
        ("cam", [hit.camera for hit in hits]),
    ):
        if any(labels):
            columns[column] = [escape(label) or "–" for label in labels]
    columns["similarity"] = [f"{hit.similarity:.3f}" for hit in hits]
    if result.refined:
        columns["before"] = [f"{hit.before:.3f}" for hit in hits]
        columns["lent"] = [f"{hit.weight:.1%}" if hit.weight > 0 else "–" for hit in hits]
    for column in columns:
        words = column == "name"
        table.add_column(column, justify="left" if words else "right", overflow="fold")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table


def clusters_table(found: "Clustered") -> Table:
    """Show what a clustering found, and how it agrees with labels where there are some."""
    sizes = Counter(found.members.identity.tolist())
    alone = sum(size == 1 for size in sizes.values())
    columns = ["rows", "identities", "alone", "largest", "doubtful"]
    cells = [f"{len(found.members.names):,}", f"{found.identities:,}", f"{alone:,}"]
    cells += [f"{max(sizes.values()):,}", f"{int((found.members.confidence < 0).sum()):,}"]
    if found.agreement is not None:
        agreed = found.agreement
        columns += ["ARI", "NMI", "BCubed F", "pairwise F"]
        figures = (agreed.ari, agreed.nmi, agreed.bcubed, agreed.pairwise)
        cells += [f"{100 * value:.1f}" for value in figures]
    table = titled_table(
        f"{found.method} on {found.embeddings} embeddings",
        columns,
        words=0,
        no_wrap=True,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_row(*cells)
    table.below = f"threshold {found.chosen.threshold:.3f}: {found.chosen}"
    if found.agreement is not None:
        table.below += (
            f"; figures in %, of {found.agreement.rows:,} rows of {found.agreement.identities:,} "
            "known identities"
        )
    return table
