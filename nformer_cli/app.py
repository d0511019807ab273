"""The Typer application: every command, grouped for help; the stages in the order they run."""

import inspect
from typing import Annotated

import typer

from .commands import (
    benchmark,
    check_data,
    compare,
    datasets,
    demo,
    evaluate,
    export,
    export_embeddings,
    extract,
    import_embeddings,
    import_nformer,
    index,
    info,
    manual,
    pack,
    refine,
    report,
    reproduce,
    search,
    settings,
    subsample,
    train_backbone,
    train_nformer,
)

app = typer.Typer(
    name="nformer",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS = {
    "Stages": {
        "demo": demo,
        "train-backbone": train_backbone,
        "extract": extract,
        "train-nformer": train_nformer,
        "evaluate": evaluate,
        "refine": refine,
    },
    "Data sets": {
        "datasets": datasets,
        "check-data": check_data,
        "pack": pack,
        "subsample": subsample,
    },
    "Search": {"search": search},
    "Import and export": {
        "export": export,
        "import-embeddings": import_embeddings,
        "export-embeddings": export_embeddings,
        "import-nformer": import_nformer,
    },
    "Results, reports and benchmarks": {
        "report": report,
        "compare": compare,
        "reproduce": reproduce,
        "info": info,
        "benchmark": benchmark,
        "manual": manual,
        "settings": settings,
    },
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


for panel, commands in COMMANDS.items():
    for name, module in commands.items():
        app.command(name, rich_help_panel=panel)(module.command)
app.add_typer(index.index_app, name="index", rich_help_panel="Search")


def _reflow(group: typer.Typer) -> None:
    """Let help fill the terminal's width: a docstring's line breaks are the source's, not its."""
    for part in (*group.registered_commands, group.registered_callback):
        if part is not None and part.callback is not None and part.callback.__doc__:
            paragraphs = inspect.cleandoc(part.callback.__doc__).split("\n\n")
            part.help = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)


_reflow(app)
_reflow(index.index_app)
