"""The command to type next, whole: with the run, and what else of this one it needs."""

from typing import TYPE_CHECKING

import typer

from pipelines.flow import command_line

from . import options

if TYPE_CHECKING:
    from pipelines import Run

# The section of a recipe that a command reads.
SECTION_OF = {
    "train-backbone": "backbone",
    "extract": "extract",
    "train-nformer": "nformer",
    "evaluate": "evaluate",
}


def with_recipe(ctx: typer.Context, command: str) -> tuple[str, ...]:
    """Return --recipe as it was given, where the recipe has settings for the next command."""
    from pipelines.settings import read_recipe

    recipe = ctx.params.get("recipe")
    if recipe is None or SECTION_OF[command] not in read_recipe(recipe):
        return ()
    return "--recipe", recipe


def repeated(ctx: typer.Context, *names: str) -> list[str]:
    """Return the options among `names` that the user gave, to be given again."""
    found: list[str] = []
    flags = {parameter.name: parameter.opts[-1] for parameter in ctx.command.params}
    for name, value in options.given(ctx, *names).items():
        flag = flags[name] if flags[name].startswith("--") else f"--{name}"
        if value is True:
            found.append(flag)
        elif isinstance(value, list | tuple):
            found += [part for one in value for part in (flag, str(one))]
        elif value is not False and value is not None:
            found += [flag, str(value)]
    return found


def after_embeddings(ctx: typer.Context, run: "Run") -> str:
    """Return what can be done with a run's embeddings: train on them, evaluate or index them."""
    facts = run.facts("embeddings.h5")
    splits = facts.get("identities") or facts.get("images") or {}
    if splits.get("train"):
        return command_line("train-nformer", *with_recipe(ctx, "train-nformer"), run=run.folder)
    if splits.get("query"):
        return command_line("evaluate", *with_recipe(ctx, "evaluate"), run=run.folder)
    return command_line("index", run=run.folder)


def after_nformer(ctx: typer.Context, run: "Run") -> str:
    """Return what can be done with a run's NFormer: evaluate, index, or bring embeddings first."""
    if run.manifest("embeddings.h5") is None:
        if run.manifest("backbone.pt") is not None:
            return command_line("extract", run=run.folder)
        return command_line("import-embeddings", "FILE", run=run.folder)
    facts = run.facts("embeddings.h5")
    splits = facts.get("counts") or facts.get("images") or {"query": 1}
    if splits.get("query"):
        return command_line("evaluate", *with_recipe(ctx, "evaluate"), run=run.folder)
    if splits.get("gallery"):
        return command_line("index", run=run.folder)
    line = command_line("evaluate", "--model", run.path("nformer.pt"), run="ANOTHER")
    return f"{line} (with query and gallery embeddings of the same network; none are in this run)"


def search_in(run: "Run") -> str:
    """Return how to search a run's index: with a picture, or a file where the network is not ours.

    Pictures need the network that embedded the items, which an import does not bring.
    """
    from pipelines.errors import PipelineError
    from pipelines.extraction.run_network import named_network

    try:
        named_network(run)
    except PipelineError:
        line = command_line("search", "QUERY.npz", run=run.folder)
        return f"{line} (embeddings of a picture by the same network; it is not in this run)"
    return command_line("search", "IMAGE", run=run.folder)
