"""nformer serve"""

from typing import Annotated

import typer

from pipelines.serving.settings import ServeSettings

from .. import options
from ..console import TerminalProgress


def serve(
    run: options.Run = options.DEFAULT_RUN,
    host: Annotated[
        str, typer.Option(metavar="NAME", help="Where to listen; another one needs --token.")
    ] = ServeSettings.host,
    port: Annotated[int, typer.Option(help="0: any that is free.")] = ServeSettings.port,
    token: Annotated[
        str,
        typer.Option(metavar="TEXT", envvar="NFORMER_TOKEN", help="What each request has to show."),
    ] = ServeSettings.token,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name it is asked by: a proxy's; repeatable."),
    ] = None,
    allow_edit: Annotated[
        bool, typer.Option("--allow-edit", help="Pictures may be added and removed.")
    ] = ServeSettings.allow_edit,
    waiting: Annotated[
        int, typer.Option(min=1, help="Requests taken at once; the next one is refused.")
    ] = ServeSettings.waiting,
    batch: Annotated[
        int, typer.Option(min=1, help="Queries answered together, at most.")
    ] = ServeSettings.batch,
    megabytes: Annotated[
        float, typer.Option(min=0.001, help="Of a picture that is sent, at most.")
    ] = ServeSettings.megabytes,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare every item, of more than 100,000 too.")
    ] = False,
    root: options.Moved = None,
    device: options.Device = "auto",
) -> None:
    """Search the index in a browser, and by HTTP.

    Reads: index.h5, and the network that embedded its items.

    Writes: index.lists.h5, of an index of more than 100,000 items; with --allow-edit, index.h5 and
    the folder `added` in the run's folder.

    Example: nformer serve --run runs/market
    """
    from pipelines import Run
    from pipelines.stages.early import require_index, require_moved, require_server

    progress, opened = TerminalProgress(), Run(run)
    require_server()
    settings = ServeSettings(
        host=host,
        port=port,
        token=token,
        names=tuple(name or ()),
        allow_edit=allow_edit,
        waiting=waiting,
        batch=batch,
        megabytes=megabytes,
    )
    require_moved(root)
    require_index(opened)
    listening = settings.listening()
    from pipelines.stages.serve import serve

    serve(
        opened,
        settings=settings,
        listening=listening,
        root=root,
        exact=exact,
        device=device,
        progress=progress,
    )
