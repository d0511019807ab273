"""The index that is answered from: opened again when its file changes, the last ones kept."""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from logging import getLogger
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import BadInput, PipelineError
from ..gallery.answers import SearchResult

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..extraction.pictures import Crop, Gathered
    from ..gallery.calibration import Calibration
    from ..gallery.index import GalleryIndex

KEPT = 3  # opened indexes whose rows a page may still name
LOG = getLogger("nformer")


class Searching(Protocol):
    """What answers: an opened index with its network."""

    @property
    def index(self) -> "GalleryIndex":
        """The items."""

    @property
    def calibration(self) -> "Calibration | None":
        """What tells strangers."""

    @property
    def folders(self) -> Sequence[str]:
        """The folders that pictures lie below, the one first that names start from."""

    @property
    def said(self) -> str:
        """How items are found where not all are compared; "" where all are."""

    def fitted(self, image: "Image", crop: "Crop | None") -> np.ndarray:
        """Return a picture, or a part of it, as the network takes it."""

    def gathered(self, images: Sequence[np.ndarray], *, camids: np.ndarray) -> "Gathered":
        """Embed pictures that fit."""

    def answered(self, asked: "Gathered", **settings: Any) -> SearchResult:
        """Search with what is embedded."""


@dataclass(frozen=True, eq=False)
class Opened:
    """An opened index under the name of its content."""

    searching: Searching
    version: str
    camids: np.ndarray = field(init=False)
    times: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        index = self.searching.index
        object.__setattr__(self, "camids", np.asarray(index.camids))
        object.__setattr__(self, "times", np.asarray(index.times, dtype=np.int64))

    def rows_of(
        self, cameras: Sequence[str], *, since: int | None, until: int | None
    ) -> np.ndarray | None:
        """Return the rows of some cameras and of a time, both ends included; None: of all.

        Raises:
            BadInput: no camera of this name, times where none are known, or no such row.
        """
        if not cameras and since is None and until is None:
            return None
        wanted = np.ones(len(self.camids), dtype=bool)
        if cameras:
            index = self.searching.index
            wanted &= np.isin(self.camids, [index.camera_number(name) for name in cameras])
        if since is not None or until is not None:
            if not len(self.times):
                raise BadInput("since, until: the items of this index have no times")
            wanted &= self.times >= (0 if since is None else since)
            wanted &= self.times <= (np.iinfo(np.int64).max if until is None else until)
        found = np.flatnonzero(wanted)
        if not len(found):
            raise BadInput("no item is of these cameras and this time")
        return found


class Live:
    """The index of now, opened again when its file is another one; meanwhile the old one answers.

    reopen: opens it, given the one before, whose network can be used again; gives its version too.
    stamp:  what the file is now, found quickly.
    """

    def __init__(
        self,
        reopen: Callable[[Searching | None], tuple[Searching, str]],
        *,
        stamp: Callable[[], Hashable],
    ) -> None:
        self._reopen, self._stamp = reopen, stamp
        self._turn, self._ended = threading.Lock(), threading.Event()
        self.reloads, self.problem = 0, ""
        self._seen = stamp()
        self._kept = deque([Opened(*reopen(None))], maxlen=KEPT)

    @property
    def current(self) -> Opened:
        """The index that new queries are answered from."""
        return self._kept[-1]

    def of(self, version: str) -> Opened | None:
        """Return the index of a version, "" being the current one; None where it is gone."""
        kept = list(self._kept)
        return kept[-1] if not version else next((o for o in kept if o.version == version), None)

    def refresh(self) -> None:
        """Open the index again if its file is another one; what is wrong with it is kept to say."""
        with self._turn:
            now = self._stamp()
            if now == self._seen:
                return
            try:
                opened = Opened(*self._reopen(self.current.searching))
            except (PipelineError, OSError) as error:
                if str(error) != self.problem:
                    LOG.warning("the index before goes on answering: %s", error)
                self.problem = str(error)
                return  # and look again: its writer may be at its last step
            self._seen, self.problem = now, ""
            if opened.version != self.current.version:
                self._kept.append(opened)
                self.reloads += 1
                LOG.info("the index was replaced: %s items", f"{len(opened.camids):,}")

    def watch(self, every: float = 1.0) -> None:
        """Look for another file now and then, until `close`."""
        while not self._ended.wait(every):
            self.refresh()

    def close(self) -> None:
        """End watching."""
        self._ended.set()
