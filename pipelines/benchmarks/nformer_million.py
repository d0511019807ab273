"""A million embeddings refined on an approximate graph, its recall measured on a sample."""

import time

import numpy as np

from ..gallery.refinement import refine_set
from ..progress import Progress, Silent
from .child import MemoryWatch, Timer, measured, private_memory
from .nformer import crowd, trained_like
from .record import Record

ROWS, QUICK_ROWS = 1_000_000, 20_000
COLUMNS = ["", "seconds", "goal", "memory", "goal"]


def measure(*, quick: bool, progress: Progress) -> Record:
    """Refine a million embeddings in a process of its own, and say how good its graph was."""
    rows = QUICK_ROWS if quick else ROWS
    with progress.task("benchmark", 1, unit="measurements"):
        found = measured("nformer_million", "refined", rows=rows)
    table = [
        f"inference, N = {rows:,}, approximate graph",
        f"{found['seconds']:.0f}",
        "≤ 1,200",
        f"{found['private'] / 1024:.1f} GB",
        "≤ 8 GB",
    ]
    note = (
        f"The graph: {found['said']}. Memory is the process's private memory at its peak, input "
        f"and result included; it has {found['start'] / 1024:.1f} GB before refining begins. Its "
        f"threads computed for {found['cpu']:.0f} s together."
    )
    return Record("A million embeddings", COLUMNS, [table], [note])


class LastMessage(Silent):
    """Keeps the last message: what the search says of itself."""

    text = ""

    def message(self, text: str) -> None:
        """Keep the message."""
        self.text = text


def refined(*, rows: int) -> dict[str, float | str]:
    """Refine `rows` embeddings on an approximate graph."""
    features, progress = crowd(rows), LastMessage()
    start, begun = private_memory(), time.process_time()
    with MemoryWatch() as watch, Timer() as timer:
        found = refine_set(trained_like(), features, method="ivf", progress=progress)
    assert isinstance(found, np.ndarray) and np.isfinite(found).all()
    return {
        "seconds": timer.seconds,
        "cpu": time.process_time() - begun,
        "private": watch.mib,
        "start": start,
        "said": progress.text,
    }
