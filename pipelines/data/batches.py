"""Batches of decoded images, prepared by threads while the network computes."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from ..device import cores
from ..processes import beside
from .images import ImageSource, UnreadableImage

if TYPE_CHECKING:
    from torch import Tensor

AHEAD = 3  # batches being prepared while one is worked on


class Batch(NamedTuple):
    """images: [B, 3, H, W] uint8 in channels_last order.   rows: [B] int64 of the source."""

    images: "Tensor"
    rows: np.ndarray


class Waiting(NamedTuple):
    """A batch being read: its rows, the images [B, H, W, 3] being filled, a result for each."""

    rows: Sequence[int] | np.ndarray
    images: "Tensor"
    reading: list[Future[str]]


class BatchLoader:
    """Decodes batches of rows of an image source, in order, `AHEAD` batches ahead.

    Threads, not processes: decoding and resizing release Python's lock, nothing is copied between
    processes, and nothing is left behind when the program is killed.

    on_bad_image: "fail" raises UnreadableImage; "skip" leaves the row out and notes it in
    `skipped`, {name: reason}. `waited` is the time in seconds spent waiting for images.
    """

    def __init__(
        self,
        source: ImageSource,
        *,
        workers: int = -1,
        on_bad_image: Literal["fail", "skip"] = "fail",
        pin: bool = False,
    ) -> None:
        self.source = source
        self.workers = workers if workers >= 0 else default_workers()
        self.on_bad_image, self.pin = on_bad_image, pin
        self.skipped: dict[str, str] = {}
        self.waited = 0.0

    def iterate(
        self, batches: Iterable[Sequence[int] | np.ndarray], *, every: bool = False
    ) -> Iterator[Batch]:
        """Yield each batch of rows as images.

        every: yield a batch without a readable image too; otherwise it is left out.
        """
        import torch  # here, so that what only lists a data set does without

        pool = ThreadPoolExecutor(max(1, self.workers), thread_name_prefix="decode")
        waiting: deque[Waiting] = deque()
        shape = (self.source.height, self.source.width, 3)
        try:
            for rows in batches:
                images = torch.empty(len(rows), *shape, dtype=torch.uint8, pin_memory=self.pin)
                targets = zip(rows, images.numpy(), strict=True)
                reading = [pool.submit(self._read, int(row), target) for row, target in targets]
                waiting.append(Waiting(rows, images, reading))
                if len(waiting) > AHEAD:
                    yield from self._finished(waiting.popleft(), every)
            while waiting:
                yield from self._finished(waiting.popleft(), every)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _read(self, row: int, target: np.ndarray) -> str:
        """Decode a row into `target` [H, W, 3]; return why it cannot be, or nothing."""
        try:
            target[:] = self.source.read(row)
        except UnreadableImage as error:
            if self.on_bad_image == "fail":
                raise
            return error.reason
        return ""

    def _finished(self, waiting: Waiting, every: bool) -> Iterator[Batch]:
        rows, images, reading = waiting
        start = time.perf_counter()
        reasons = [future.result() for future in reading]
        self.waited += time.perf_counter() - start
        index = np.asarray(rows, dtype=np.int64)
        if any(reasons):
            for row, reason in zip(index, reasons, strict=True):
                if reason:
                    self.skipped[self.source.names[row]] = reason
            good = np.flatnonzero([not reason for reason in reasons])
            images, index = images[good], index[good]
        if every or len(index):
            yield Batch(images.permute(0, 3, 1, 2), index)


def default_workers() -> int:
    """Return as many decoding threads as this process may use cores, at most 16.

    The processes that torchrun has started on this machine divide the cores.
    """
    return min(16, max(1, cores() // beside()))


def ordered_batches(rows: int, size: int) -> Iterator[range]:
    """Yield all rows in order, `size` at a time."""
    for start in range(0, rows, size):
        yield range(start, min(start + size, rows))
