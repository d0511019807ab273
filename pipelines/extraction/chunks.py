"""Embed an image source in chunks that survive an interruption; several processes share them."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from ..artifacts.manifest import Manifest
from ..artifacts.unfinished import note_progress, purpose_of, require_unfinished, unfinished_in
from ..config import ExtractConfig
from ..data.batches import BatchLoader, ordered_batches
from ..data.images import ImageSource
from ..errors import BadInput
from ..files import sealed, sealing, text_digest, write_text
from ..progress import Progress, Silent, Task
from ..training.delayed import one_behind
from .claims import MUTEX, Claims, exclusive, holders
from .networks import Network

PAUSE = 0.2  # seconds between two looks at the chunks of others
CHUNK = 1024  # images embedded between two points that an interrupted extraction goes on from


class Chunk(NamedTuple):
    """The rows of a source that could be read, [n] int64, their embeddings [n, d], the others."""

    rows: np.ndarray
    features: np.ndarray
    skipped: dict[str, str]


class ChunkedEmbedding:
    """Image sources embedded by one network, in chunks, each a file.

    folder: where the chunks are kept; those of another extraction are removed, to `overwrite`.
        Other processes that make the same embed chunks there too, each its own.
    wanted: the manifest of what is made of them.

    Raises:
        BadInput: another extraction is at work there, or was interrupted.
    """

    def __init__(
        self,
        network: Network,
        folder: Path,
        *,
        wanted: Manifest,
        config: ExtractConfig,
        progress: Progress,
        overwrite: bool = False,
    ) -> None:
        self.network, self.folder, self.config = network, folder, config
        self.purpose = purpose_of(wanted)
        key = text_digest(f"{wanted.to_json()} {config.on_bad_image}")
        self.progress, self.seconds, self.embedded, self.kept = progress, 0.0, 0, 0
        self.waited = False
        self.earlier = unfinished_in(folder)  # of the same, unless it is removed here
        mark = folder / "key"
        with exclusive(folder) as now:
            if not mark.exists() or mark.read_bytes() != key.encode():
                at_work = holders(folder, now)
                if at_work:
                    raise BadInput(
                        f"{at_work[0]} embeds other images, or with other settings, in "
                        f"{folder}; wait for it to finish, or end it: nothing is lost by that"
                    )
                require_unfinished(folder, purpose=self.purpose, overwrite=overwrite)
                for old in folder.iterdir():
                    if old.name != MUTEX:
                        old.unlink()
                write_text(mark, key)
                self.earlier = None

    def _note(self, *, of: int) -> None:
        done = self.kept + self.embedded
        with suppress(BadInput):  # another process has put all together, and removed the folder
            note_progress(self.folder, done, of=of, unit="image", purpose=self.purpose)

    def embed_all(self, sources: dict[str, ImageSource]) -> None:
        """Embed every chunk of named sources that is not there yet, and wait for those of others.

        Raises:
            UnreadableImage: an image cannot be read, and such are not to be left out.
            Gone: another process has put all chunks together and removed them.
        """
        total, earlier = sum(len(source.names) for source in sources.values()), self.earlier
        if earlier is not None:
            self.progress.message(f"going on after {earlier}")
        left = [(self._path(name, rows), name, rows)
                for name, source in sources.items() for rows in chunks(source)]  # fmt: skip
        with (
            Claims(self.folder) as claims,
            self.progress.task("embed", total, unit="images") as task,
        ):
            while left:
                others = []
                for path, name, rows in left:
                    if sealed(path) is not None:
                        self.kept += len(rows)
                        task.skip(len(rows))
                    elif not claims.take(path.stem):
                        others.append((path, name, rows))
                    elif sealed(path) is None:  # nor has it been finished in this instant
                        self._embed(path, sources[name], rows=rows, task=task)
                        self._note(of=total)
                        claims.release(path.stem)
                    else:
                        self.kept += len(rows)
                        task.skip(len(rows))
                        claims.release(path.stem)
                if others and not self.waited:
                    self.waited = True
                    self.progress.message("other processes embed the rest; waiting for them")
                if len(others) == len(left):
                    time.sleep(PAUSE)
                left = others
        if self.embedded:
            rate = self.embedded / max(self.seconds, 1e-9)
            self.progress.message(
                f"embedded {self.embedded} images in {self.seconds:.1f} s: {rate:.1f} images/s"
            )

    def read(self, name: str, source: ImageSource) -> Iterator[Chunk]:
        """Yield the chunks of a source that was embedded.

        Raises:
            BadInput: a chunk is gone or was damaged.
        """
        for rows in chunks(source):
            path = sealed(self._path(name, rows))
            if path is None:
                raise BadInput(
                    f"a finished part of the extraction in {self.folder} is gone or was damaged; "
                    "run the same command again: only that part is made anew"
                )
            with np.load(path, allow_pickle=False) as file:
                skipped = json.loads(str(file["skipped"]))
                yield Chunk(file["rows"] + rows.start, file["features"], skipped)

    def _embed(self, path: Path, source: ImageSource, *, rows: range, task: Task) -> None:
        loader = loader_of(source, self.network, config=self.config)
        start = time.perf_counter()
        parts = []
        for part in embed_rows(self.network, loader, rows=rows, size=self.config.batch):
            parts.append(part)
            self.embedded += len(part[0])
            task.advance(len(part[0]))
        task.advance(len(loader.skipped))
        self.seconds += time.perf_counter() - start
        index, features = joined(parts)
        content: dict[str, Any] = {"features": features, "rows": index - rows.start}
        with sealing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **content, skipped=json.dumps(loader.skipped))

    def _path(self, name: str, rows: range) -> Path:
        return self.folder / f"{name}-{rows.start:09d}.npz"


def embed_source(
    network: Network, source: ImageSource, *, progress: Progress = Silent()
) -> np.ndarray:
    """Return the embeddings [N, d] float32 of all images of a source.

    Raises:
        UnreadableImage: an image cannot be read.
    """
    config, count, parts = ExtractConfig(), len(source.names), []
    loader = loader_of(source, network, config=config)
    with progress.task("embed", count, unit="images") as task:
        for part in embed_rows(network, loader, rows=range(count), size=config.batch):
            parts.append(part)
            task.advance(len(part[0]))
    return joined(parts)[1]


def loader_of(source: ImageSource, network: Network, *, config: ExtractConfig) -> BatchLoader:
    """Return what decodes a source's images for a network."""
    pinned, policy = network.device.type == "cuda", config.on_bad_image
    return BatchLoader(source, workers=config.workers, on_bad_image=policy, pin=pinned)


def embed_rows(
    network: Network, loader: BatchLoader, *, rows: range, size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows read, [B] int64, and their embeddings, [B, dim] float32, batch by batch."""

    def queued() -> Iterator[tuple[np.ndarray, Tensor]]:
        for batch in loader.iterate(rows[part.start : part.stop] for part in batches):
            yield batch.rows, network.of_images(batch.images)

    batches = ordered_batches(len(rows), size)
    for read, embeddings in one_behind(queued()):
        yield read, embeddings.float().cpu().numpy()


def joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and the embeddings of all batches; [0] and [0, 0] of none."""
    if not parts:
        return np.empty(0, np.int64), np.empty((0, 0), np.float32)
    rows, features = zip(*parts, strict=True)
    return np.concatenate(rows), np.concatenate(features)


def chunks(source: ImageSource) -> Iterator[range]:
    """Yield the rows of a source, `CHUNK` at a time."""
    return ordered_batches(len(source.names), CHUNK)
