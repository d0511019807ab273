"""nformer datasets, check-data, pack and subsample; nformer demo, which draws its own"""

import json as json_format
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.config import PackConfig
from pipelines.errors import BadInput

from .. import options
from ..console import TerminalProgress, out
from ..following import command_line, repeated
from ..tables import data_table, datasets_table, evaluation_table, findings_table
from .results import write_report

PACK = PackConfig()


def datasets(json: options.Json = False) -> None:
    """List the data sets that can be read.

    Reads: nothing.

    Writes: nothing. Each comes with its published counts, where to get it, its licence and state.

    Example: nformer datasets
    """
    from pipelines.data.catalogue import listing

    rows = listing()
    if json:
        typer.echo(json_format.dumps(rows, ensure_ascii=False))
    else:
        out.print(datasets_table(rows))


@options.reading
def check_data(
    ctx: typer.Context,
    dataset: options.Dataset,
    root: options.Root = options.DEFAULT_ROOT,
    json: options.Json = False,
    **reader: Any,
) -> None:
    """Check a data set's files before training on them.

    Reads: every file of the data set. Compares its counts with the published ones; finds unreadable
    images, the same content or the same identities in train and in test, and identities that only
    one camera saw. Ends with exit code 1 when there are errors, and with 2 when there is no data
    set that could be read.

    Writes: nothing.

    Example: nformer check-data market1501 --root ~/data
    """
    from pipelines.stages.check_data import check_data

    report = check_data(
        dataset,
        root=root,
        options=options.reader_options(ctx),
        progress=TerminalProgress(),
    )
    if json:
        typer.echo(json_format.dumps(report.as_table(), ensure_ascii=False))
    else:
        if report.splits:
            out.print(data_table(report))
        out.print(findings_table(report))
    if report.errors:
        raise typer.Exit(1)


@options.reading
def pack(
    ctx: typer.Context,
    dataset: options.Dataset,
    root: options.Root = options.DEFAULT_ROOT,
    run: options.Run = options.DEFAULT_RUN,
    height: Annotated[int, typer.Option(help="Image height.")] = PACK.height,
    width: Annotated[int, typer.Option(help="Image width.")] = PACK.width,
    workers: options.Workers = PACK.workers,
    on_bad_image: options.OnBadImage = PACK.on_bad_image,
    overwrite: options.Overwrite = False,
    **reader: Any,
) -> None:
    """Decode and resize a data set's images once.

    Reads: the data set's images.

    Writes: images.h5 in the run's folder, which train-backbone and extract then read instead of the
    files, while the list of files and the image size are the same. Nothing else changes by it.

    Example: nformer pack market1501 --root ~/data --run runs/market
    """
    from pipelines import Run
    from pipelines.stages.pack import pack

    progress = TerminalProgress()
    path = pack(
        Run(run),
        dataset,
        root=root,
        config=options.config_of(ctx, "pack"),
        overwrite=overwrite,
        progress=progress,
        options=options.reader_options(ctx),
    )
    same = ("height", "width", "on_bad_image", *options.READER_OPTIONS)
    again = ["--root", root, *repeated(ctx, *same)]
    following = command_line("train-backbone", dataset, *again, run=run)
    progress.message(f"{path}; next: {following}")


def subsample(
    images_per_identity: Annotated[
        str, typer.Option(metavar="N,N,…", help="Gallery images of an identity, on average.")
    ] = "5,10,15,20",
    run: options.Run = options.DEFAULT_RUN,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
) -> None:
    """Draw test subsets with fewer images an identity.

    Reads: embeddings.h5, and nformer.pt where there is one.

    Writes: a run for each number below the run's folder, images-per-identity-05 and so on, as in
    the paper's Table 3: evaluate each with nformer evaluate --run.

    Example: nformer subsample --images-per-identity 5,10,15,20 --run runs/market
    """
    from pipelines import Run
    from pipelines.stages.subsample import subsample

    parts = [part.strip() for part in images_per_identity.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise BadInput(
            f"--images-per-identity {images_per_identity}: wanted whole numbers, as in 5,10,15,20"
        )
    progress = TerminalProgress()
    numbers = [int(part) for part in parts]
    folders = subsample(Run(run), numbers, seed=seed, overwrite=overwrite, progress=progress)
    progress.message(f"next, for each of them: {command_line('evaluate', run=folders[0])}")


def demo(
    run: options.Run = Path("runs/demo"),
    images_only: Annotated[
        Path | None,
        typer.Option("--images-only", metavar="DIR", help="Write just the data set, there."),
    ] = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """Run everything on a small drawn data set.

    Reads: nothing; nothing is downloaded and no GPU is needed. It ends after about two
    minutes on two idle CPU cores, later beside other programs.

    Writes: images/ (in Market-1501's layout), backbone.pt, embeddings.h5, nformer.pt, refined.h5,
    metrics.json and report.html in the run's folder. Run again, an interrupted demo goes on.

    Example: nformer demo --run runs/demo
    """
    progress = TerminalProgress()
    if images_only is not None:
        from pipelines.stages.demo import demo_images

        folder = demo_images(images_only, seed=seed, overwrite=overwrite, progress=progress)
        asked = ("market1501", "--root", folder, "--recipe", "demo")
        following = command_line("train-backbone", *asked, run=options.DEFAULT_RUN)
        progress.message(f"{folder}; next: {following}")
        return
    from pipelines import Run

    opened = Run(run)
    progress.message(
        "draw people, train on them, extract, train NFormer, evaluate: about two minutes on two "
        "idle CPU cores"
    )
    from pipelines.stages.demo import demo

    result = demo(opened, seed=seed, device=device, overwrite=overwrite, progress=progress)
    if json:
        typer.echo(result.to_json())
    else:
        out.print(evaluation_table(result))
        write_report(opened, progress)
        progress.message(f"everything lies in {run}; {command_line('info', run=run)} lists it")
