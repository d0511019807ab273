"""Help pages: what a command does, then each option whole, no choice cut at a line's end."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from .numbers import PlainNumbers

NAMES_WIDTH = 27  # columns for an option's names; a wider one has a line of its own
COMMANDS_WIDTH = 17  # for a command's: import-embeddings
WIDEST = 100  # columns: longer lines are hard to read
VALUES = {int: "N", float: "NUMBER"}  # what stands for a value, by the default's type


class HelpPage:
    """What `Command` and `CommandGroup` show for --help."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the page to stdout."""
        console, command = Console(), ctx.command
        width = min(console.width, WIDEST)
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        given = [one for one in command.get_params(ctx) if one not in arguments and not one.hidden]
        usage = " ".join([ctx.command_path, "[OPTIONS]", *map(_argument, arguments)])
        usage += " [COMMAND]" if hasattr(command, "commands") else ""
        console.print(Text(f"Usage: {usage}", style="bold"), width=width)
        for paragraph in (command.help or "").split("\n\n"):
            console.print()
            console.print(Text(paragraph), width=width)
        parts = {
            "Arguments": [_row(_argument(one), one, ctx=ctx) for one in arguments],
            "Options": [_row(_option(one), one, ctx=ctx) for one in given],
        } | _commands(command)
        for title, rows in parts.items():
            if rows:
                console.print()
                names = NAMES_WIDTH if title in ("Arguments", "Options") else COMMANDS_WIDTH
                listed = Panel(
                    _list(rows, width=names), title=title, title_align="left", border_style="dim"
                )
                console.print(listed, width=width)


class Command(PlainNumbers, HelpPage, TyperCommand):
    """A command with our help page, whose numbers are plain."""


class CommandGroup(PlainNumbers, HelpPage, TyperGroup):
    """A command with commands below it, likewise."""


def _commands(group: Any) -> dict[str, list[tuple[str, Text]]]:
    """Return the commands of a group, with what each does, under the titles of their panels."""
    found: dict[str, list[tuple[str, Text]]] = {}
    for name, one in getattr(group, "commands", {}).items():
        panel = getattr(one, "rich_help_panel", None)
        title = panel if isinstance(panel, str) else "Commands"
        about = Text((one.help or "").partition("\n\n")[0])
        found.setdefault(title, []).append((name, about))
    return found


def _list(rows: list[tuple[str, Text]], *, width: int) -> RenderableType:
    """Return names at the left and what they mean beside them, or below those that are wide."""
    return Group(*(line for row in rows for line in _lines(*row, width=width)))


def _lines(names: str, about: Text, *, width: int) -> Iterator[RenderableType]:
    left = Text(names, style="cyan", no_wrap=True)
    if len(names) > width:
        yield left
        yield Padding(about, (0, 0, 0, width + 2))
        return
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(width=width)
    row.add_column()
    row.add_row(left, about)
    yield row


def _argument(parameter: Any) -> str:
    name = str(parameter.metavar or parameter.name.upper())
    name += "…" if parameter.nargs != 1 and not name.rstrip("]").endswith(("…", "...")) else ""
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def _option(parameter: Any) -> str:
    """Return `--top N`, `--flip`, `--report/--no-report`."""
    long, short = ([n for n in parameter.opts if n.startswith("--") is k] for k in (True, False))
    names = ", ".join(short + long[:1])  # other long ones are names of earlier versions
    if parameter.secondary_opts:
        names += f"/{parameter.secondary_opts[0]}"
    value = parameter.metavar or VALUES.get(type(parameter.default), "TEXT")
    return names if parameter.is_flag else f"{names} {value}"


def _row(names: str, parameter: Any, *, ctx: Any) -> tuple[str, Text]:
    notes = []
    if getattr(parameter, "envvar", None):
        notes.append(f"environment: {parameter.envvar}")
    default = _default(parameter, ctx)
    if default:
        notes.append(f"default: {default}")
    about = Text(parameter.help or "")
    if notes:
        about.append(f" [{'; '.join(notes)}]", style="dim")
    return names, about


def _default(parameter: Any, ctx: Any) -> str:
    """Return a default worth a word, as a user would type it."""
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    value = parameter.get_default(ctx, call=False)
    if (
        value is None
        or value is False
        or value in ("", ())
        or parameter.required
        or callable(value)
    ):
        return ""
    if isinstance(value, bool):
        return str(parameter.opts[0]).removeprefix("--")
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
