"""nformer index, nformer index add FOLDER|FILE…, nformer index remove PATTERN"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from .. import options
from ..console import TerminalProgress

if TYPE_CHECKING:
    from pipelines.gallery.refinement import GalleryState

index_app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})


@index_app.callback(invoke_without_command=True)
def build(
    ctx: typer.Context,
    run: options.Run = options.DEFAULT_RUN,
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An NFormer of another run.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the landmarks.")] = 0,
    overwrite: options.Overwrite = False,
) -> None:
    """Save the gallery, refined, for new pictures.

    Reads: embeddings.h5, and nformer.pt where there is one.

    Writes: index.h5 in the run's folder: embeddings, neighbour graph, every layer's states, and a
    threshold calibrated on the training identities. `index add` and `index remove` change it.

    Example: nformer index --run runs/market
    """
    if ctx.invoked_subcommand is not None:
        return
    write_index(run, model, seed=seed, overwrite=overwrite, progress=TerminalProgress())


def write_index(
    run: Path,
    model: Path | None,
    *,
    seed: int = 0,
    overwrite: bool,
    progress: TerminalProgress,
    state: "GalleryState | None" = None,
) -> None:
    """Save a run's index and say what it is for."""
    from pipelines import Run
    from pipelines.stages.index import index_gallery

    path = index_gallery(
        Run(run), model=model, seed=seed, overwrite=overwrite, progress=progress, state=state
    )
    progress.message(f"{path}; next: nformer search IMAGE --run {run}")


@index_app.command("add")
def add(
    ctx: typer.Context,
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER|FILE…", help="Pictures, folders, or embeddings (.npz, …)."),
    ],
    run: options.Run = options.DEFAULT_RUN,
    pid: Annotated[int, typer.Option(help="Whose pictures these are; -1: not known.")] = -1,
    camid: Annotated[int, typer.Option(help="The camera's number; -1: not known.")] = -1,
    device: options.Device = "auto",
) -> None:
    """Add pictures or embeddings to the index.

    Reads: index.h5, and backbone.pt for pictures.

    Writes: index.h5, replaced in one step: equal to an index built with the new items at once.
    Another writer is waited for.

    Example: nformer index add new-pictures/ --run runs/market --pid 1502
    """
    from pipelines import Run
    from pipelines.stages.index import add_to_index

    run, progress = named_run(ctx, run), TerminalProgress()
    count = add_to_index(Run(run), sources, pid=pid, camid=camid, device=device, progress=progress)
    progress.message(f"{run / 'index.h5'}: {count:,} added")


@index_app.command("remove")
def remove(
    ctx: typer.Context,
    pattern: Annotated[str, typer.Argument(help="Names to remove, such as '*/0042_*'.")],
    run: options.Run = options.DEFAULT_RUN,
) -> None:
    """Remove items from the index by name.

    Reads: index.h5.

    Writes: index.h5, replaced in one step: equal to an index built without them.

    Example: nformer index remove '*/0042_*' --run runs/market
    """
    from pipelines import Run
    from pipelines.stages.index import remove_from_index

    run, progress = named_run(ctx, run), TerminalProgress()
    count = remove_from_index(Run(run), pattern, progress=progress)
    progress.message(f"{run / 'index.h5'}: {count:,} removed")


def named_run(ctx: typer.Context, run: Path) -> Path:
    """Return the run named behind `add` or, as in `nformer index --run DIR add`, before it."""
    before = cast(typer.Context, ctx.parent)  # of the group `index`
    return run if options.given(ctx, "run") else Path(options.given(before, "run").get("run", run))
