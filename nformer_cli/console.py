"""stdout for results, stderr for everything else: messages and progress."""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Column
from rich.text import Text

from pipelines.processes import rank

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


QUIET = rank() > 0  # of several processes the first one tells; each tells its own error
out = SafeConsole(quiet=QUIET)
err = SafeConsole(stderr=True, quiet=QUIET)

COMMAND = re.compile(  # to be copied
    r"(?:(?<=: )|(?<=; see )|(?<=`))(?:nformer|python -m) .+?(?=`|\. [A-Z]| \(|; |$)"
)
JOINED = "\ue000"  # stands for a space at which no line is broken


def tell(text: str, *, mark: str = "", style: str = "") -> None:
    """Write one message to stderr, behind a mark of its kind.

    Its lines are those of `told`.
    """
    shown = Text(told(mark + text, console=err))
    shown.stylize(style, 0, len(mark.rstrip()))
    err.print(shown, soft_wrap=True)


def say(text: str, *, style: str = "") -> None:
    """Write one sentence of a result to stdout, in the lines of `told`."""
    out.print(Text(told(text, console=out), style=style), soft_wrap=True)


def told(text: str, *, console: Console) -> str:
    """Return a message as a console is to print it, by `soft_wrap`.

    A terminal gets lines that end between words. A command keeps a line of its own, however long,
    so that it can be copied. A file or a pipe gets one line.
    """
    line = text.replace("\n", "\\n")
    if not console.file.isatty():
        return line
    line = COMMAND.sub(lambda found: found[0].replace(" ", JOINED), line)
    return "\n".join(wrapped(line, console.width)).replace(JOINED, " ")


def wrapped(text: str, width: int) -> list[str]:
    """Return a text as lines of at most `width` columns; a word that is wider is a line.

    What fits into one line stays as it is, with its columns.
    """
    if cell_len(text) <= width:
        return [text]
    lines: list[str] = []
    for word in text.split():
        if lines and cell_len(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


WIDE = 110  # columns from which a long bar and the time spent fit too
OTHERS = 26  # columns of a narrow line for the spinner, the bar, the time left, and the gaps
LOG_SECONDS = 10.0  # between lines of progress where stderr is no terminal


class TerminalProgress:
    """A `pipelines.progress.Progress`: bars on a terminal, now and then a line elsewhere."""

    def message(self, text: str) -> None:
        """Show one message."""
        tell(text)

    def warn(self, text: str) -> None:
        """Show one message that stands out."""
        tell(text, mark="note: ", style="yellow")

    @contextmanager
    def task(self, title: str, total: int | None, *, unit: str = "") -> Iterator["_Bar | _Lines"]:
        """Show a bar for one piece of work, and leave one line of it when it ends."""
        if not err.is_terminal:
            lines = _Lines(title, total=total, unit=unit)
            yield lines
            lines.print(f" in {time.monotonic() - lines.begun:.1f} s")
            return
        wide = err.width >= WIDE
        columns = (
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=24 if wide else 8),
            TextColumn("{task.fields[count]}", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[figures]}", style="dim", table_column=Column(no_wrap=True)),
            *([TimeElapsedColumn()] if wide or total is None else []),
            *([TimeRemainingColumn()] if total is not None else []),
        )
        with Progress(*columns, console=err) as bars:
            task = bars.add_task(escape(title), total=total, count="", figures="")
            bar = _Bar(
                bars, task, total=total, unit=unit, room=err.width - cell_len(title) - OTHERS
            )
            yield bar
            if total is None:
                bars.update(task, total=bar.done)  # the end is known now: a whole bar, ticked


class _Counted:
    """A piece of work: how much is done, and the figures beside it, its rate the last.

    before: what an earlier command had done, which the rate leaves out.
    """

    def __init__(self, *, total: int | None, unit: str) -> None:
        self.total, self.unit = total, unit
        self.done, self.before, self.begun = 0, 0, time.monotonic()

    def skip(self, amount: int) -> None:
        """Count what was done before, by an interrupted command."""
        self.before += amount
        self.done += amount

    def counted(self) -> str:
        """Return `192/400 images`, or `192 images` where the end is not known."""
        of = f"/{self.total}" if self.total is not None else ""
        return f"{self.done}{of} {self.unit}".rstrip()

    def count(self, amount: int, figures: dict[str, float | str]) -> list[str]:
        """Count work, and return the figures in words."""
        self.done += amount
        seconds = time.monotonic() - self.begun
        figures = {name: value for name, value in figures.items() if name != "rate"}
        parts = [_figure(name, value) for name, value in figures.items()]
        if self.unit and seconds >= 0.5:
            rate = (self.done - self.before) / seconds
            if rate >= 1:
                parts.append(f"{rate:,.4g} {self.unit}/s")
            elif rate > 0:
                parts.append(f"{1 / rate:,.3g} s each")
        return parts


def _figure(name: str, value: float | str) -> str:
    """Return a figure in words, one of accuracy in per cent as tables have it."""
    if not isinstance(value, float):
        return f"{name} {value}"
    if name.endswith("mAP"):
        return f"{name.replace('_', '-', 1).replace('_', ' ')} {100 * value:.1f}"
    return f"{name} {value:.4g}"


class _Bar(_Counted):
    """A bar; room: columns for the count and the figures, of which those that fit are shown."""

    def __init__(
        self, bars: Progress, task: TaskID, *, total: int | None, unit: str, room: int
    ) -> None:
        super().__init__(total=total, unit=unit)
        self.bars, self.task, self.room = bars, task, room
        self.bars.update(task, count=self.counted())

    def skip(self, amount: int) -> None:
        super().skip(amount)
        self.bars.reset(self.task, completed=self.done)  # with fields, these would be all there are
        self.bars.update(self.task, count=self.counted())

    def advance(self, amount: int = 1, **figures: float | str) -> None:
        parts, shown = self.count(amount, figures), ""
        left = self.room - len(self.counted())
        for part in [*parts[-1:], *parts[:-1]]:  # the rate before the others
            if len(shown) + len(part) + 2 <= left:
                shown = f"{shown}  {part}" if shown else part
        self.bars.update(self.task, advance=amount, count=self.counted(), figures=shown)


class _Lines(_Counted):
    def __init__(self, title: str, *, total: int | None, unit: str) -> None:
        super().__init__(total=total, unit=unit)
        self.title, self.shown, self.last = title, "", self.begun

    def advance(self, amount: int = 1, **figures: float | str) -> None:
        self.shown = "  ".join(self.count(amount, figures))
        if time.monotonic() - self.last >= LOG_SECONDS:
            self.last = time.monotonic()
            self.print("")

    def print(self, ending: str) -> None:
        text = f"{self.title}: {self.counted()} {self.shown}".rstrip() + ending
        tell(text)
