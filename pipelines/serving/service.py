"""What a server holds: the live index, the queue, the pictures shown, and who may change what."""

import dataclasses
import glob
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import BadInput
from ..gallery.answers import SearchResult
from .batches import Asked, Batches
from .live import Live, Opened
from .metrics import Metrics
from .pictures import Shown, item_picture, read_sent
from .settings import ServeSettings
from .taken import Taken

CURVE = np.linspace(0, 1, 101)  # similarities at which the page is told the shares


@dataclasses.dataclass(frozen=True)
class Edits:
    """What changes the index: `add` a picture's content, `remove` a name; the rest by `Service`."""

    add: Callable[..., int]
    remove: Callable[[str], int]


class Service:
    """All that answers requests, apart from HTTP.

    name:     the run's.   pictures: whether the network that embeds them is here.
    """

    def __init__(
        self,
        live: Live,
        settings: ServeSettings,
        *,
        name: str = "",
        pictures: bool = True,
        edits: Edits | None = None,
    ) -> None:
        self.live, self.settings, self.name, self.pictures = live, settings, name, pictures
        self.metrics, self.taken, self.shown = Metrics(), Taken(settings), Shown()
        self.edits, self._editing = edits, threading.Lock()
        self.batches = Batches(most=settings.batch, tell=self.metrics.batch.observe)
        self.watching = threading.Thread(target=live.watch, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to look for changes of the index."""
        self.watching.start()

    def close(self) -> None:
        """Answer what waits, and end."""
        self.live.close()
        self.batches.close()

    def opened(self, version: str = "") -> Opened:
        """Return an index by its version; BadInput where it is gone."""
        found = self.live.of(version)
        if found is None:
            raise BadInput("the index was replaced since; search again")
        return found

    def row(self, opened: Opened, row: int) -> int:
        """Return a row number that the index has; BadInput for another."""
        count = len(opened.camids)
        if not 0 <= row < count:
            raise BadInput(f"row {row}: the index has rows from 0 to {count - 1}")
        return row

    def asked(
        self,
        opened: Opened,
        content: bytes | np.ndarray | int,
        *,
        crop: tuple[int, int, int, int] | None,
        camera: str,
        among: tuple[Sequence[str], int | None, int | None],
        **settings: Any,
    ) -> Asked:
        """Return a query that can wait: a picture's bytes, features [d], or the row of an item.

        Raises:
            BadInput: what was sent cannot be searched with; says why.
        """
        camid = opened.searching.index.camera_number(camera)
        cameras, since, until = among
        rows = opened.rows_of(cameras, since=since, until=until)
        image = features = None
        if isinstance(content, int):
            content = self.row(opened, content)
        if isinstance(content, np.ndarray):
            features = content
        elif self.pictures:
            if isinstance(content, bytes):
                whole = read_sent(content)
            else:
                whole = item_picture(opened, content)
            image = opened.searching.fitted(whole, crop)
        elif isinstance(content, int):
            features = np.asarray(opened.searching.index.plain[content])
        else:
            raise BadInput(
                "the network that embedded the items is not in this run; send features instead: "
                '{"features": [...]}'
            )
        key = (tuple(cameras), since, until)
        return Asked(
            opened,
            image,
            features,
            camid,
            tuple(sorted(settings.items())),
            None if rows is None else (key, rows),
        )

    def add(self, content: bytes, *, pid: str, camera: str) -> int:
        """Add a picture to the index; returns how many items that makes, one.

        Raises:
            BadInput: changes are not allowed, another is being made, or this one cannot be.
        """
        read_sent(content)  # refused before anything is written
        return self._changing(lambda edits: edits.add(content, pid=pid, camera=camera))

    def remove(self, version: str, row: int) -> int:
        """Remove an item from the index, by its row in one of its versions."""
        opened = self.opened(version)
        name = opened.searching.index.names[self.row(opened, row)]
        return self._changing(lambda edits: edits.remove(glob.escape(name)))

    def _changing(self, change: Callable[[Edits], int]) -> int:
        if self.edits is None:
            raise BadInput("changes are not allowed; start the server with --allow-edit")
        with self._editing:
            done = change(self.edits)
            self.live.refresh()
        return done

    def tells(self, opened: Opened) -> dict[str, Any] | None:
        """Return what tells strangers, or None."""
        found = opened.searching.calibration
        if found is None:
            return None
        least = max(0.01, 1 / found.stranger_count)
        return {
            "threshold": found.threshold(least),
            "similarities": CURVE.round(2).tolist(),
            "strangers": [round(found.false_accepts(point), 4) for point in CURVE],
            "friends": [round(found.accepts(point), 4) for point in CURVE],
        }

    def cameras(self, opened: Opened) -> list[dict[str, Any]]:
        """Return the cameras that items are of, and how many are of each."""
        known, counts = np.unique(opened.camids[opened.camids >= 0], return_counts=True)
        called = opened.searching.index.labels.camera
        pairs = zip(known.tolist(), counts.tolist(), strict=True)
        return [{"name": called(camera), "items": count} for camera, count in pairs]

    def item(self, opened: Opened, row: int) -> dict[str, Any]:
        """Return what is known of an item."""
        index = opened.searching.index
        pid, camid = int(index.pids[row]), int(opened.camids[row])
        return {
            "row": row,
            "name": index.names[row],
            "pid": pid,
            "camid": camid,
            "identity": index.labels.person(pid) if pid >= 0 else "",
            "camera": index.labels.camera(camid) if camid >= 0 else "",
            "time": int(opened.times[row]) if len(opened.times) else -1,
            "picture": picture_link(opened, row),
        }


def picture_link(opened: Opened, row: int) -> str:
    """Return where an item's picture is, which stays so when the index is replaced."""
    return f"/items/{row}/picture?version={opened.version}"


def as_found(asked: Asked, result: SearchResult) -> dict[str, Any]:
    """Return the answer to one query as it is sent: nothing of where files lie."""
    (answer,), opened = result.answers, asked.opened
    links = [picture_link(opened, hit.row) for hit in answer.hits]
    shares = zip(answer.rows, answer.listened, strict=True)
    whole = dataclasses.asdict(result)
    return {
        **{key: whole[key] for key in ("gallery", "refined", "refined_by", "threshold")},
        "false_accepts": result.false_accepts,
        "version": opened.version,
        "nearest": answer.nearest,
        "nobody": answer.nobody,
        "own": answer.own,
        "hits": [
            dataclasses.asdict(hit) | {"picture": link}
            for hit, link in zip(answer.hits, links, strict=True)
        ],
        "listened": [
            {"row": row, "name": name, "share": share, "picture": picture_link(opened, row)}
            for row, (name, share) in shares
        ],
        "seconds": sum(result.seconds.values()),
    }
