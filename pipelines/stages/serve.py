"""index.h5, and the network of it -> a server that answers searches until it is told to end"""

import hashlib
import logging
import signal
import socket
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..artifacts.moved import pictures_root
from ..artifacts.run import Run, require_run
from ..embeddings import Embeddings
from ..errors import BadInput, PipelineError
from ..extraction.pictures import Crop, Gathered, cropped
from ..extraction.run_network import items_manifest, named_network
from ..files import replacing
from ..progress import Progress, Silent
from ..serving.settings import ServeSettings
from .early import INDEX
from .search_images import Searcher

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..gallery.answers import SearchResult
    from ..gallery.calibration import Calibration
    from ..gallery.index import GalleryIndex
    from ..serving.live import Searching
    from ..serving.service import Service

ADDED = "added"  # below the run's folder: the pictures that came in by the server
ENDINGS = {"JPEG": "jpg", "JPEG2000": "jp2", "TIFF": "tif", "DIB": "bmp"}


def serve(
    run: Run,
    *,
    settings: ServeSettings = ServeSettings(),
    listening: socket.socket | None = None,
    root: Path | None = None,
    exact: bool = False,
    device: str = "auto",
    progress: Progress = Silent(),
) -> None:
    """Answer searches of the run's index over HTTP until SIGTERM or Ctrl-C.

    listening: a socket that listens already; None: one is opened as the settings say.
    root:      where the pictures lie now, if they were moved.
    exact:     compare every item, however many there are.

    Raises:
        BadInput: nothing can listen there.   Others as `Searcher`.
    """
    require_run(run, "serve")
    own = listening or settings.listening()
    import uvicorn

    from ..serving.app import create_app

    service = service_of(
        run, settings=settings, root=root, exact=exact, device=device, progress=progress
    )
    config = uvicorn.Config(
        create_app(service),
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=1024,
        timeout_graceful_shutdown=int(settings.seconds),
    )
    logging.getLogger("uvicorn.error").addFilter(no_fault_of_ours)
    server = uvicorn.Server(config)
    before = {kind: signal.signal(kind, _ignored) for kind in (signal.SIGTERM, signal.SIGINT)}
    try:
        host, port = own.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        progress.message(f"serving http://{shown}:{port}/ (Ctrl-C ends it)")
        server.run(sockets=[own])
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def no_fault_of_ours(record: logging.LogRecord) -> bool:
    """Return whether a line of the server's log is to be written: not what is wrong with requests.

    Whoever sends many malformed ones would fill the log with them.
    """
    error = record.exc_info[1] if record.exc_info else None
    module = "" if error is None else type(error).__module__
    return not (record.msg == "Invalid HTTP request received." or module.startswith("h11."))


def _ignored(*_: Any) -> None:
    """Do nothing: the server has ended by then, and that is no error."""


def service_of(
    run: Run,
    *,
    settings: ServeSettings,
    root: Path | None = None,
    exact: bool = False,
    device: str = "auto",
    progress: Progress = Silent(),
) -> "Service":
    """Return what answers the requests to a server of this run; the rest as for `serve`."""
    from ..serving.live import Live
    from ..serving.service import Edits, Service

    try:
        named_network(run)
        pictures = True
    except PipelineError as error:
        progress.warn(f"{error}. Searches take features, and rows of items, not pictures")
        pictures = False

    def reopen(before: "Searching | None") -> tuple["Searching", str]:
        asked: dict[str, Any] = {"device": device, "root": root, "exact": exact}
        found = RunSearching(run, **asked, pictures=pictures, before=before, progress=progress)
        return found, found.version

    edits = None
    if settings.allow_edit:
        adding, removing = Adding(run, device=device), Removing(run)
        edits = Edits(adding, removing)
    live: Live = Live(reopen, stamp=lambda: _stamp(run))
    return Service(live, settings, name=run.folder.name, pictures=pictures, edits=edits)


def _stamp(run: Run) -> Hashable:
    """Return what tells one index file from the next, without reading it."""
    try:
        found = run.manifest_path(INDEX).stat(), run.path(INDEX).stat()
    except OSError:
        return None
    return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)


class RunSearching:
    """A run's index and its network, as a server asks them.

    folders: that pictures lie below, the one first that names start from.
    """

    def __init__(
        self,
        run: Run,
        *,
        device: str,
        root: Path | None,
        pictures: bool,
        exact: bool = False,
        before: "Searching | None" = None,
        progress: Progress = Silent(),
    ) -> None:
        self.searcher = Searcher(run, device=device)
        self.searcher.warn(progress)
        if not exact:
            self.searcher.look_through_lists(progress)
        self.version = self.searcher.stored.manifest.sha256[:16]
        self.key = _network_key(run) if pictures else None
        facts = self.searcher.stored.manifest.facts
        moved: dict[str, Any] = {"told": root, "names": self.index.names, "progress": progress}
        self.folders = [pictures_root(run, facts, **moved), *facts.get("folders", [])]
        if isinstance(before, RunSearching) and before.key == self.key:
            self.searcher.take_network(before.searcher)
        if pictures:
            self.preprocessing = self.searcher.network("served").preprocessing

    @property
    def index(self) -> "GalleryIndex":
        """The items."""
        return self.searcher.stored.index

    @property
    def calibration(self) -> "Calibration | None":
        """What tells strangers."""
        return self.searcher.stored.calibration

    @property
    def said(self) -> str:
        """How items are found where not all are compared."""
        lists = self.index.lists
        return f"Items are found by {lists['rows']}." if lists else ""

    def fitted(self, image: "Image", crop: Crop | None) -> np.ndarray:
        """Return a picture, or a part of it, as the network takes it: [height, width, 3] uint8."""
        from ..data.images import fitted

        return fitted(cropped(image, crop, path=Path("the picture")), self.preprocessing)

    def gathered(self, images: Sequence[np.ndarray], *, camids: np.ndarray) -> Gathered:
        """Embed pictures that fit, as a search with one of them does."""
        import torch

        stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)  # [B, 3, height, width]
        features = self.searcher.network("served").of_images(stacked).float().cpu().numpy()
        unknown = np.full(len(images), -1)
        return Gathered(Embeddings(features, unknown, camids), [None] * len(images))

    def answered(self, asked: Gathered, **settings: Any) -> "SearchResult":
        """Search with what is embedded."""
        return self.searcher.answered(asked, **settings)


def _network_key(run: Run) -> Hashable:
    """Return what tells the network of a run's items from another one."""
    given, config = named_network(run)
    if given is not None:
        return given, str(config), tuple(sorted(given.inputs().items()))
    return None, str(config), items_manifest(run).inputs.get("backbone.pt")


class Adding:
    """Adds pictures to a run's index, under names of the server's own."""

    def __init__(self, run: Run, *, device: str) -> None:
        self.run, self.device = run, device

    def __call__(self, content: bytes, *, pid: str, camera: str) -> int:
        """Keep a picture's content below the run's folder, and add it to the index."""
        from PIL import Image

        from .change_index import add_to_index
        from .index import opened

        with Image.open(_file(content)) as image:
            kind = str(image.format)
        ending = ENDINGS.get(kind, kind.lower())
        path = self.run.folder / ADDED / f"{hashlib.sha256(content).hexdigest()[:32]}.{ending}"
        kept = path.exists()
        if kept and str(path.resolve()) in set(opened(self.run).index.names):
            raise BadInput("this picture is in the index already")
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        try:
            return add_to_index(self.run, [path], pid=pid, camid=camera, device=self.device)
        except BaseException:
            if not kept:
                path.unlink(missing_ok=True)
            raise


class Removing:
    """Removes items from a run's index; of a picture that the server keeps, the file too."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __call__(self, pattern: str) -> int:
        """Remove what a pattern matches."""
        from .change_index import remove_from_index

        count = remove_from_index(self.run, pattern)
        path = Path(pattern)
        if path.parent == (self.run.folder / ADDED).resolve():
            path.unlink(missing_ok=True)
        return count


def _file(content: bytes) -> Any:
    import io

    return io.BytesIO(content)
