"""Show what `nformer search` found: a table of gallery items for each query."""

from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from pipelines.gallery.answers import Answer, SearchResult


def answer_table(answer: "Answer", result: "SearchResult") -> Table:
    """Show what a search found for one query, and which items lent it weight."""
    from pipelines.reporting.montage import attention_of, verdict

    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"[bold]{escape(answer.query)}[/]",
        caption=escape("\n".join(filter(None, [verdict(answer, result), attention_of(answer)]))),
        title_justify="left",
        caption_justify="left",
        title_style="",
        caption_style="dim",
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    columns = ("rank", "name", "pid", "cam", "similarity", "before", "lent")
    for column in columns[: 7 if result.refined else 5]:
        words = column == "name"
        table.add_column(column, justify="left" if words else "right", overflow="fold")
    for hit in answer.hits:
        labels = [str(label) if label >= 0 else "–" for label in (hit.pid, hit.camid)]
        lent = f"{hit.weight:.1%}" if hit.weight > 0 else "–"
        more = [f"{hit.before:.3f}", lent] if result.refined else []
        table.add_row(str(hit.rank), escape(hit.name), *labels, f"{hit.similarity:.3f}", *more)
    return table
