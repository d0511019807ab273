"""stdout for results, stderr for everything else: messages and progress."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment

UNSEEN = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0))}
del UNSEEN[ord("\n")], UNSEEN[ord("\t")]


def one_line(text: str) -> str:
    """Return a text as one line of what rich prints, whatever names from files hold."""
    return escape(text.replace("\n", "\\n"))


class SafeConsole(Console):
    """A console on which names from files cannot move the cursor: control characters are shown."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of a renderable, their text without control characters."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else text.translate(UNSEEN), style, control)


out = SafeConsole()
err = SafeConsole(stderr=True)

LOG_SECONDS = 10.0  # between lines of progress where stderr is no terminal


class TerminalProgress:
    """A `pipelines.progress.Progress`: bars on a terminal, now and then a line elsewhere."""

    def message(self, text: str) -> None:
        """Show one line."""
        err.print(one_line(text), soft_wrap=True, highlight=False)

    def warn(self, text: str) -> None:
        """Show one line that stands out."""
        err.print(f"[yellow]note:[/] {one_line(text)}", soft_wrap=True, highlight=False)

    @contextmanager
    def task(self, title: str, total: int | None, *, unit: str = "") -> Iterator["_Bar | _Lines"]:
        """Show a bar for one piece of work, and leave one line of it when it ends."""
        if not err.is_terminal:
            lines = _Lines(title, total=total, unit=unit)
            yield lines
            lines.print(f" in {time.monotonic() - lines.begun:.1f} s")
            return
        columns = (
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]} {task.fields[figures]}", style="dim"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=err) as bars:
            task = bars.add_task(escape(title), total=total, unit=unit, figures="")
            yield _Bar(bars, task, unit=unit)


class _Counted:
    """A piece of work: how much is done, and the figures beside it, its rate the last."""

    def __init__(self, unit: str) -> None:
        self.unit, self.done, self.begun = unit, 0, time.monotonic()

    def count(self, amount: int, figures: dict[str, float | str]) -> str:
        self.done += amount
        seconds = time.monotonic() - self.begun
        if self.unit and seconds >= 0.5:
            figures = {**figures, "rate": f"{self.done / seconds:,.4g} {self.unit}/s"}
        parts = []
        for name, value in figures.items():
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            parts.append(shown if name == "rate" else f"{name} {shown}")
        return "  ".join(parts)


class _Bar(_Counted):
    def __init__(self, bars: Progress, task: TaskID, *, unit: str) -> None:
        super().__init__(unit)
        self.bars, self.task = bars, task

    def advance(self, amount: int = 1, **figures: float | str) -> None:
        self.bars.update(self.task, advance=amount, figures=self.count(amount, figures))


class _Lines(_Counted):
    def __init__(self, title: str, *, total: int | None, unit: str) -> None:
        super().__init__(unit)
        self.title, self.total, self.shown, self.last = title, total, "", self.begun

    def advance(self, amount: int = 1, **figures: float | str) -> None:
        self.shown = self.count(amount, figures)
        if time.monotonic() - self.last >= LOG_SECONDS:
            self.last = time.monotonic()
            self.print("")

    def print(self, ending: str) -> None:
        of = f"/{self.total}" if self.total is not None else ""
        text = f"{self.title}: {self.done}{of} {self.unit} {self.shown}".rstrip() + ending
        err.print(one_line(text), soft_wrap=True, highlight=False)
