"""nformer import-embeddings FILE…: read other programs' embeddings into a run."""

from pathlib import Path
from typing import Annotated

import typer

from .. import options
from ..console import TerminalProgress, out
from ..tables import counts_table


def command(
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
    drop_bad: Annotated[
        bool, typer.Option("--drop-bad", help="Leave out NaN, infinite and all-zero rows.")
    ] = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Bring embeddings from any network into a run.

    Reads: .npz, .pt and .h5 with {train,query,gallery}_{features,pids,camids} and perhaps _names
    (.h5 also in groups); .npy with a CSV of path,pid,camid,split; a folder with an .npy for each
    picture and such a CSV; Parquet with those columns and a list column; .mat with query_f,
    query_label, query_cam, gallery_f, gallery_label, gallery_cam. Camera ids may be absent. Files
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
        drop_bad=drop_bad,
        overwrite=overwrite,
        progress=progress,
    )
    out.print(counts_table(dataset, opened.facts(path.name)))
    following = (
        "train-nformer" if opened.facts(path.name)["identities"].get("train") else "evaluate"
    )
    progress.message(f"{path}; next: nformer {following} --run {run}")
