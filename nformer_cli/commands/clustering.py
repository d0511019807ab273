"""nformer cluster"""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.config import ClusterConfig
from pipelines.errors import BadInput

from .. import options
from ..console import TerminalProgress, out


def cluster(
    ctx: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE…]", help="Files of embeddings (.npz, …) instead of a run's."),
    ] = None,
    run: options.Run = options.DEFAULT_RUN,
    index: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The items of this index.h5 instead of a run's rows."),
    ] = None,
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where clusters.csv goes. Default: the run; beside the index or file.",
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="agglomerative|components|hdbscan|leiden|infomap", help="How rows are grouped."
        ),
    ] = ClusterConfig.method,
    threshold: Annotated[
        str,
        typer.Option(
            metavar="auto|NUMBER",
            help="Mean similarity from which on two groups are one. auto: by held-out training "
            "identities, or without labels.",
        ),
    ] = "auto",
    embeddings: Annotated[
        str,
        typer.Option(
            metavar="auto|plain|refined", help="Which embeddings; auto: by held-out identities."
        ),
    ] = ClusterConfig.embeddings,
    neighbours: Annotated[
        int, typer.Option(help="Neighbours of each row in the graph.")
    ] = ClusterConfig.neighbours,
    must_link: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A .csv of pairs that are one identity, by name or row."),
    ] = None,
    cannot_link: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A .csv of pairs that are not.")
    ] = None,
    frames: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="Rows of one frame are different identities: name (boxes), time, ….",
        ),
    ] = "",
    edited: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A clusters.csv whose column identity you changed."),
    ] = None,
    page: Annotated[
        bool, typer.Option("--page/--no-page", help="Write clusters.html, with the pictures.")
    ] = True,
    root: options.Moved = None,
    settings: options.Settings = None,
    device: options.Device = "auto",
    seed: options.Seed = ClusterConfig.seed,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """Group embeddings by identity, without labels.

    Reads: embeddings.h5, and nformer.pt where there is one; or an index, which is taken where the
    run has nothing else; or files of embeddings.
    Training identities choose the threshold, where there are some.

    Writes: clusters.csv, a line a row: identity, confidence, the nearest other identity; and
    clusters.html, the doubtful identities first. Merge and split on the page and download the
    table, or change its column identity, and read it back with --edited.

    Example: nformer cluster --run runs/market
    """
    from pipelines import Run
    from pipelines.gallery.asked import parsed_threshold
    from pipelines.stages.early import require_clustering, require_moved

    limit = parsed_threshold(threshold or "auto")
    config = options.config_of(ctx, "cluster")
    require_moved(root)
    sources = list(files or [])
    tables = {"--must-link": must_link, "--cannot-link": cannot_link, "--edited": edited}
    beside = [index] if index is not None else sources
    folder = out_folder or (beside[0].parent if beside else run)
    opened, progress = Run(options.at_work(folder)), TerminalProgress()
    require_clustering(Run(run), index=index, files=sources, tables=tables, method=config.method)
    from pipelines.stages.cluster import Asked, cluster, write_page

    if out_folder is not None and not beside:
        raise BadInput("--out DIR belongs to an index or files; a run's clusters lie in the run")
    found = cluster(
        opened,
        index=index,
        files=sources,
        config=config,
        asked=Asked(None if limit == "auto" else limit, must_link, cannot_link, edited, frames),
        device=device,
        overwrite=overwrite,
        progress=progress,
    )
    if page:
        written, missing = write_page(found, root=root, progress=progress)
        if missing:
            progress.warn(f"{missing}. Say where they are: --root DIR")
        progress.message(f"{written}; open it in a browser")
    for note in found.notes:
        progress.message(note)
    if json:
        typer.echo(found.to_json())
        return
    from ..tables import clusters_table

    out.print(clusters_table(found))
    progress.message(f"{found.path}; change its column identity, then: {found.again}")
