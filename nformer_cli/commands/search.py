"""nformer search IMAGE…, nformer index, nformer index add and remove"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from pipelines.errors import BadInput
from pipelines.gallery.asked import parsed_crop, parsed_threshold

from .. import options
from ..console import TerminalProgress, one_line, out
from ..following import search_in
from ..help import Command, CommandGroup
from ..tables import answer_table

if TYPE_CHECKING:
    from pipelines.gallery.refinement import GalleryState


def search(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE…", help="Pictures, folders, or embeddings (.npz, …)."),
    ],
    run: options.Run = options.DEFAULT_RUN,
    top: Annotated[int, typer.Option(min=1, help="Items shown of each query.")] = 10,
    crop: Annotated[
        str, typer.Option(metavar="X,Y,W,H", help="The part of each picture, in pixels.")
    ] = "",
    camid: Annotated[
        str,
        typer.Option(
            metavar="NUMBER|NAME", help="The pictures' camera, as in the gallery; -1: not known."
        ),
    ] = "-1",
    threshold: Annotated[
        str,
        typer.Option(
            metavar="auto|NUMBER", help="Similarity before refinement below which nobody is there."
        ),
    ] = "",
    false_accept: Annotated[
        float, typer.Option(help="Share of strangers that --threshold auto accepts.")
    ] = 0.01,
    montage: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the pictures found (.png, .jpg).")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with the pictures found.")
    ] = None,
    root: options.Moved = None,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Find a person in the index with a picture.

    Reads: index.h5, and backbone.pt for pictures.

    Writes: a table to stdout; the montage and the page asked for.

    Example: nformer search me.jpg --run runs/market --top 10 --montage found.png
    """
    from pipelines import Run

    corner, limit = parsed_crop(crop), parsed_threshold(threshold)
    if montage or html:
        from pipelines.reporting.montage import require_endings

        require_endings(montage=montage, html=html)
    from pipelines.stages.early import require_moved, require_sources

    progress, opened = TerminalProgress(), Run(run)
    require_moved(root)
    require_sources(opened, images, crop=corner, threshold=limit)
    from pipelines.stages.search_images import search_images

    result = search_images(
        opened,
        images,
        top=top,
        crop=corner,
        camid=camid,
        threshold=limit,
        false_accepts=false_accept,
        device=device,
        progress=progress,
    )
    from pipelines.artifacts.moved import pictures_root
    from pipelines.reporting.montage import (
        attention_of,
        said_of,
        summary,
        unshown,
        write_montage,
        write_page,
    )

    names = [hit.name for answer in result.answers for hit in answer.hits]
    folder = pictures_root(opened, {"root": result.root}, told=root, names=names, progress=progress)
    result = replace(result, root=folder)
    missing = unshown(result) if montage or html else ""
    if missing:
        progress.warn(f"{missing}. Say where they are: --root DIR")
    for what, path, write in (("montage", montage, write_montage), ("page", html, write_page)):
        if path is not None:
            progress.message(f"{what}: {write(result, path, crop=corner)}")
    if json:
        typer.echo(result.to_json())
        return
    for number, answer in enumerate(result.answers):
        if number:
            out.print()
        out.print(f"[bold]{one_line(answer.query)}[/]", highlight=False)
        out.print(answer_table(answer, result))
        for text in filter(None, [*said_of(answer, result), attention_of(answer)]):
            out.print(one_line(text), style="dim", highlight=False)  # as wide as the terminal
    progress.message(f"{summary(result)}; {sum(result.seconds.values()):.2f} s")


index_app = typer.Typer(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})


@index_app.callback(invoke_without_command=True)
def build(
    ctx: typer.Context,
    run: options.Run = options.DEFAULT_RUN,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Embed and index these pictures, not embeddings.h5."),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Boxes in them (.csv, MOT's .txt, COCO's .json)."),
    ] = None,
    tracks: Annotated[
        str,
        typer.Option(
            metavar="mean|median|best-K", help="How the boxes of a track become one item."
        ),
    ] = "mean",
    arch: options.Arch = None,
    weights: options.Weights = None,
    onnx: options.Onnx = None,
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The nformer.pt of another run.")
    ] = None,
    on_bad_image: options.OnBadImage = "fail",
    settings: options.Settings = None,
    device: options.Device = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the landmarks.")] = 0,
    assume: options.Assume = "auto",
    overwrite: options.Overwrite = False,
) -> None:
    """Save the gallery, refined, for new pictures.

    Reads: embeddings.h5, and nformer.pt where there is one; or the pictures in a folder, which need
    no labels and no data set, with the network of --arch and --weights, of --onnx, or of the run.

    Writes: index.h5 in the run's folder: embeddings, neighbour graph, every layer's states, and a
    threshold calibrated on the training identities. `index add` and `index remove` change it.

    Example: nformer index --run runs/market
    """
    if ctx.invoked_subcommand is not None:
        return
    from pipelines import Run
    from pipelines.stages.early import require_model

    progress, opened = TerminalProgress(), Run(run)
    if model is not None:
        require_model(model, runs=[opened] if pictures is None else [])
    if pictures is not None:
        from pipelines.stages.early import network_given, require_pictures

        config = options.config_of(ctx, "extract")
        given = network_given(arch=arch, weights=weights, onnx=onnx)
        require_pictures(opened, pictures, boxes=boxes, tracks=tracks, given=given)
        from pipelines.stages.index_pictures import index_pictures

        path = index_pictures(
            opened,
            pictures,
            boxes=boxes,
            tracks=tracks,
            arch=arch,
            weights=weights,
            onnx=onnx,
            config=config,
            model=model,
            device=device,
            seed=seed,
            overwrite=overwrite,
            progress=progress,
        )
        progress.message(f"{path}; next: {search_in(opened)}")
        return
    require_no(
        ctx, "boxes", "tracks", "arch", "weights", "onnx", "on_bad_image", "settings", "device"
    )
    write_index(run, model, seed=seed, assume=assume, overwrite=overwrite, progress=progress)


def require_no(ctx: typer.Context, *names: str) -> None:
    """Raise BadInput where options were given that only --pictures takes."""
    called = {"settings": "set", "on_bad_image": "on-bad-image"}
    found = [f"--{called.get(name, name)}" for name in options.given(ctx, *names)]
    if found:
        raise BadInput(f"{', '.join(found)} needs --pictures FOLDER")


def write_index(
    run: Path,
    model: Path | None,
    *,
    seed: int = 0,
    assume: str = "auto",
    overwrite: bool,
    progress: TerminalProgress,
    state: "GalleryState | None" = None,
) -> None:
    """Save a run's index and say what it is for."""
    from pipelines import Run
    from pipelines.settings import configure

    opened = Run(run)
    opened.require_manifest("embeddings.h5")
    configure("evaluate", options={"assume": assume})  # refuses what it cannot be
    from pipelines.stages.index import index_gallery

    path = index_gallery(
        opened,
        model=model,
        seed=seed,
        overwrite=overwrite,
        progress=progress,
        state=state,
        assume=assume,  # type: ignore[arg-type]  # checked there
    )
    progress.message(f"{path}; next: {search_in(opened)}")


@index_app.command("add", cls=Command)
def add(
    ctx: typer.Context,
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER|FILE…", help="Pictures, folders, or embeddings (.npz, …)."),
    ],
    run: options.Run = options.DEFAULT_RUN,
    pid: Annotated[
        str,
        typer.Option(
            metavar="NUMBER|NAME", help="The identity that these pictures show; -1: not known."
        ),
    ] = "-1",
    camid: Annotated[
        str, typer.Option(metavar="NUMBER|NAME", help="The camera; -1: not known.")
    ] = "-1",
    device: options.Device = "auto",
) -> None:
    """Add pictures or embeddings to the index.

    Reads: index.h5, and backbone.pt for pictures.

    Writes: index.h5, replaced in one step: equal to an index built with the new items at once.
    Another writer is waited for.

    Example: nformer index add new-pictures/ --run runs/market --pid 1502
    """
    from pipelines import Run
    from pipelines.stages.early import require_sources

    run, progress = named_run(ctx, run), TerminalProgress()
    opened = Run(run)
    require_sources(opened, sources)
    from pipelines.stages.change_index import add_to_index

    count = add_to_index(opened, sources, pid=pid, camid=camid, device=device, progress=progress)
    progress.message(f"{run / 'index.h5'}: {count:,} added")


@index_app.command("remove", cls=Command)
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
    from pipelines.stages.early import require_names

    run, progress = named_run(ctx, run), TerminalProgress()
    opened = Run(run)
    require_names(opened, pattern)
    from pipelines.stages.change_index import remove_from_index

    count = remove_from_index(opened, pattern, progress=progress)
    progress.message(f"{run / 'index.h5'}: {count:,} removed")


def named_run(ctx: typer.Context, run: Path) -> Path:
    """Return the run named behind `add` or, as in `nformer index --run DIR add`, before it."""
    before = cast(typer.Context, ctx.parent)  # of the group `index`
    return run if options.given(ctx, "run") else Path(options.given(before, "run").get("run", run))
