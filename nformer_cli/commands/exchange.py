"""nformer export, import-embeddings, export-embeddings and import-nformer"""

from pathlib import Path
from typing import Annotated, Any

import typer

from .. import options
from ..console import TerminalProgress, out
from ..following import after_embeddings, after_nformer
from ..tables import counts_table


def export(
    run: options.Run = options.DEFAULT_RUN,
    format: Annotated[
        str,
        typer.Option("--format", metavar="onnx|torchscript|safetensors", help="The file's format."),
    ] = "onnx",
    push: Annotated[
        str,
        typer.Option(metavar="OWNER/NAME", help="Upload it to this Hugging Face repository too."),
    ] = "",
    overwrite: options.Overwrite = False,
) -> None:
    """Write the backbone for other programs to run.

    Reads: backbone.pt.

    Writes: backbone.onnx, .torchscript or .safetensors in the run's folder, after comparing
    its embeddings with torch's: the largest difference is printed. Beside it a model card (.md):
    the network, its training, the run's results and how to use it.

    Example: nformer export --format onnx --run runs/market
    """
    from pipelines import Run
    from pipelines.stages.early import require_network_format, require_repository

    require_network_format(format)
    if push:
        require_repository(push)
    progress, opened = TerminalProgress(), Run(run)
    opened.require_manifest("backbone.pt")
    from pipelines.stages.export import export

    wanted: Any = format
    path = export(opened, format=wanted, overwrite=overwrite, progress=progress)
    following = (
        f"nformer extract --onnx {path} --dataset NAME --root DIR --run ANOTHER, or any program "
        "that runs ONNX"
    )
    if format == "torchscript":
        following = f"torch.jit.load({str(path)!r}) in a program of your own"
    if format == "safetensors":
        following = f"nformer index --pictures FOLDER --weights {path} --run ANOTHER"
    progress.message(f"{path}; next: {following}")
    if push:
        from pipelines.stages.push import push as upload

        progress.message(upload(opened, push, format=wanted, progress=progress))


def import_embeddings(
    ctx: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE…",
            help=".npz, .npy and its .csv, a folder of .npy, .parquet, .pt, .mat or .h5.",
        ),
    ],
    run: options.Run = options.DEFAULT_RUN,
    dataset: Annotated[str, typer.Option(help="A name for results and reports.")] = "",
    root: Annotated[
        str, typer.Option(metavar="DIR", help="Where the images named in the files lie.")
    ] = "",
    rules: options.Rules = "",
    drop_bad: Annotated[
        bool, typer.Option("--drop-bad", help="Leave out NaN, infinite and all-zero rows.")
    ] = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Bring embeddings from any network into a run.

    Reads: .npz, .pt and .h5 with {train,query,gallery}_{features,pids,camids} and perhaps _names
    (.h5 also in groups); .npy with a CSV of path,pid,camid,split; a folder with an .npy for each
    picture and such a CSV; Parquet with those columns and a list column; .mat with query_f,
    query_label, query_cam, gallery_f, gallery_label, gallery_cam. Camera ids may be absent.
    Further labels have keys as query_clothes: clothes, track, time, illumination, viewpoint. Files
    may be larger than memory.

    Writes: embeddings.h5 in the run's folder, which train-nformer and evaluate read as always.

    Example: nformer import-embeddings market.npz --run runs/osnet --dataset market1501
    """
    from pipelines import Run, import_embeddings

    progress = TerminalProgress()
    opened = Run(run)
    path = import_embeddings(
        opened,
        files,
        dataset=dataset,
        root=root,
        rules=rules,
        drop_bad=drop_bad,
        overwrite=overwrite,
        progress=progress,
    )
    out.print(counts_table(dataset, opened.facts(path.name)))
    progress.message(f"{path}; next: {after_embeddings(ctx, opened)}")


def export_embeddings(
    file: Annotated[Path, typer.Argument(help="Where to: .npz, .npy, .parquet, .mat or .faiss.")],
    run: options.Run = options.DEFAULT_RUN,
    format: Annotated[
        str,
        typer.Option(metavar="npz|npy|parquet|mat|faiss", help="auto: as the file's name ends."),
    ] = "auto",
    stage: Annotated[
        str, typer.Option(metavar="raw|refined", help="Before or after refinement.")
    ] = "raw",
    split: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this split; may be repeated.")
    ] = None,
    dtype: Annotated[
        str, typer.Option(metavar="TYPE", help="auto, float16, float32 or float64.")
    ] = "auto",
    overwrite: options.Overwrite = False,
) -> None:
    """Write a run's embeddings for other programs.

    Reads: embeddings.h5 (raw) or refined.h5 (refined).

    Writes: the file named; an .npy and a .faiss get a .csv of path,pid,camid,split beside them. The
    ids of the FAISS index are the lines of that .csv, counted from 0.

    Example: nformer export-embeddings refined.npz --run runs/market --stage refined
    """
    from pipelines import Run, export_embeddings

    progress = TerminalProgress()
    path = export_embeddings(
        Run(run),
        file,
        format=format,
        stage=stage,
        splits=split or (),
        dtype=dtype,
        overwrite=overwrite,
        progress=progress,
    )
    progress.message(f"{path}")


def import_nformer(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The authors' checkpoint (.pt, .pth).")
    ],
    run: options.Run = options.DEFAULT_RUN,
    neighbours: Annotated[int, typer.Option(min=1, help="Neighbours k.")] = 20,
    landmarks: Annotated[int, typer.Option(min=1, help="Landmark agents l.")] = 5,
    heads: Annotated[int, typer.Option(min=1, help="Attention heads.")] = 2,
    overwrite: options.Overwrite = False,
) -> None:
    """Bring an NFormer of the released code into a run.

    Reads: a state dict with h.*, bottleneck.* and classifier.*, with or without nformer. before
    them. No code of the file is run.

    Writes: nformer.pt in the run's folder, which evaluate reads as always.

    Example: nformer import-nformer NFormer_market.pth --run runs/market
    """
    from pipelines import Run
    from pipelines.stages.early import require_checkpoint

    require_checkpoint(file)
    progress, opened = TerminalProgress(), Run(run)
    from pipelines.stages.import_nformer import import_nformer

    path = import_nformer(
        opened,
        file,
        neighbours=neighbours,
        landmarks=landmarks,
        heads=heads,
        overwrite=overwrite,
        progress=progress,
    )
    progress.message(f"{path}; next: {after_nformer(ctx, opened)}")
