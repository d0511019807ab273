"""The Typer application: every command, grouped for help; the stages in the order they run."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from pipelines.processes import go_alone, rank

from .commands import (
    clustering,
    datasets,
    evaluating,
    exchange,
    manual,
    results,
    search,
    serve,
    settings,
    training,
)
from .help import Command, CommandGroup

app = typer.Typer(
    name="nformer",
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

SHARED = ("train-backbone", "extract", "train")  # whose work processes share under torchrun
COMMANDS = {
    "Stages": (
        datasets.demo,
        training.train_backbone,
        training.extract,
        training.train_nformer,
        training.train,
        evaluating.evaluate,
        evaluating.refine,
    ),
    "Data sets": (datasets.datasets, datasets.check_data, datasets.pack, datasets.subsample),
    "Search": (search.search, clustering.cluster, serve.serve),
    "Import and export": (
        exchange.export,
        exchange.import_embeddings,
        exchange.export_embeddings,
        exchange.import_nformer,
    ),
    "Results, reports and benchmarks": (
        results.report,
        results.compare,
        results.reproduce,
        results.info,
        results.benchmark,
        manual.manual,
        settings.settings,
    ),
}


def _version(wanted: bool) -> None:
    if wanted:
        from pipelines import __version__

        typer.echo(f"nformer {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Person re-identification with neighbour-aware refinement, from images to mAP."""


def _in_one_process(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command of one process: of several that torchrun started, the others end."""

    @functools.wraps(command)
    def alone(*given: Any, **options: Any) -> None:
        if rank() == 0:
            go_alone()
            command(*given, **options)

    return alone


for panel, commands in COMMANDS.items():
    for command in commands:
        name = command.__name__.replace("_", "-")
        callback = command if name in SHARED else _in_one_process(command)
        app.command(name, cls=Command, rich_help_panel=panel)(callback)
for part in (*search.index_app.registered_commands, search.index_app.registered_callback):
    if part is not None and part.callback is not None:
        part.callback = _in_one_process(part.callback)
app.add_typer(search.index_app, name="index", rich_help_panel="Search")


def _reflow(group: typer.Typer) -> None:
    """Let help fill the terminal's width: a docstring's line breaks are the source's, not its."""
    for part in (*group.registered_commands, group.registered_callback):
        if part is not None and part.callback is not None and part.callback.__doc__:
            paragraphs = inspect.cleandoc(part.callback.__doc__).split("\n\n")
            part.help = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)


_reflow(app)
_reflow(search.index_app)
