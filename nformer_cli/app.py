"""The Typer application: every command, in the order of the data's way."""

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
    pack,
    refine,
    report,
    search,
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
    help="Person re-identification with neighbour-aware refinement, from images to mAP.",
)

STAGES = "The data's way"
FIND = "Find a person with a picture"
DATA = "Images"
ELSEWHERE = "Embeddings from and for elsewhere"
LOOK = "Look and measure"


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
    pass


app.command("demo", rich_help_panel=STAGES)(demo.command)
app.command("train-backbone", rich_help_panel=STAGES)(train_backbone.command)
app.command("extract", rich_help_panel=STAGES)(extract.command)
app.command("train-nformer", rich_help_panel=STAGES)(train_nformer.command)
app.command("evaluate", rich_help_panel=STAGES)(evaluate.command)
app.command("refine", rich_help_panel=STAGES)(refine.command)
app.command("datasets", rich_help_panel=DATA)(datasets.command)
app.command("check-data", rich_help_panel=DATA)(check_data.command)
app.command("pack", rich_help_panel=DATA)(pack.command)
app.command("subsample", rich_help_panel=DATA)(subsample.command)
app.add_typer(index.index_app, name="index", rich_help_panel=FIND)
app.command("search", rich_help_panel=FIND)(search.command)
app.command("export", rich_help_panel=ELSEWHERE)(export.command)
app.command("import-embeddings", rich_help_panel=ELSEWHERE)(import_embeddings.command)
app.command("export-embeddings", rich_help_panel=ELSEWHERE)(export_embeddings.command)
app.command("import-nformer", rich_help_panel=ELSEWHERE)(import_nformer.command)
app.command("report", rich_help_panel=LOOK)(report.command)
app.command("compare", rich_help_panel=LOOK)(compare.command)
app.command("info", rich_help_panel=LOOK)(info.command)
app.command("benchmark", rich_help_panel=LOOK)(benchmark.command)
