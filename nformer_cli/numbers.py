"""Numbers of the command line: 1_0 and digits of other scripts, which Python takes, are none."""

import inspect
from typing import Annotated, Any, get_args, get_origin

import typer

from pipelines.settings import is_unusual_number

WANTED = {int: "a whole number", float: "a number"}


class PlainNumbers:
    """What a command does with its numbers before Typer converts them."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse the line; raise a misuse for a number that is not in plain digits."""
        command: Any = self
        given, _, _ = command.make_parser(ctx).parse_args(args=list(args))
        kinds = _numbers(command.callback)
        for one in command.params:
            kind, typed = kinds.get(one.name), given.get(one.name)
            for text in typed if isinstance(typed, list | tuple) else [typed]:
                if kind and isinstance(text, str) and is_unusual_number(text):
                    raise typer.BadParameter(
                        f"{text!r} is not {WANTED[kind]} in plain digits", ctx=ctx, param=one
                    )
        return super().parse_args(ctx, args)  # type: ignore[misc]


def _numbers(callback: Any) -> dict[str, type]:
    """Return the parameters of a command that are numbers, with their kind."""
    found = {}
    for name, parameter in inspect.signature(callback).parameters.items() if callback else ():
        kind = parameter.annotation
        kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        for one in WANTED:
            if one in (kind, *get_args(kind)):
                found[name] = one
    return found
