"""What refining in parts will take, foreseen from the sizes of a set and the model's settings."""

import time
from dataclasses import dataclass

import numpy as np

from ..neighbours.nearest import APPROXIMATE, choose
from ..nformer.model import NFormer
from ..nformer.on_closed_form import NFormerOnClosedForm
from ..refiners.edge_gate import FEATURES, NEAREST
from .search import nearest_of_all
from .shards import parts_wanted

IDLE = 850 << 20  # bytes of a worker that does nothing, with PyTorch's CUDA build
SEARCH = 128 << 20  # bytes of a search's blocks of products
LISTS, LOOKED = 256 << 20, 5000  # bytes of an approximate search, and for each row that asks
AGAIN = 4  # times as many bytes as all rows, at most: a list is read for each block that asks
TRIED = 1 << 14  # rows that are multiplied to measure this machine


@dataclass(frozen=True)
class Size:
    """The sizes of a set. cameras: groups of which a closed form takes neighbours each."""

    queries: int
    gallery: int
    width: int
    cameras: int = 1


@dataclass(frozen=True)
class Plan:
    """What refining a set in parts will take.

    read:    bytes that tasks read of each other's files, at most.
    memory:  bytes of a worker, at most.   seconds: of the searches, by all workers together.
    exact:   whether all are compared with all; else the seconds are more than it takes.
    """

    parts: int
    workers: int
    read: int
    memory: int
    seconds: float
    exact: bool

    def __str__(self) -> str:
        searches = "searches" if self.exact else "searches, if they were exact,"
        return (
            f"{self.parts} parts, {self.workers} workers: at most {self.read / 1e9:.3g} GB read of "
            f"the run's folder and {self.memory >> 20:,} MiB of memory a worker; {searches} take "
            f"about {self.seconds:,.0f} s"
        )


def plan_of(model: NFormer, size: Size, *, workers: int, shards: int = 0, method: str) -> Plan:
    """Return what refining a set of some size by a model will take.

    shards: parts asked for.   method: as for `search`, of a plain NFormer.
    """
    parts = parts_wanted(size.gallery, workers=workers, asked=shards)
    blocks = parts_wanted(size.queries, workers=workers, asked=shards)
    rows = -(-size.gallery // parts)
    line = 4 * size.width
    how = choose(
        "auto" if isinstance(model, NFormerOnClosedForm) else method,
        rows=size.gallery, columns=size.gallery // size.cameras, where="cpu", k=model.neighbours,
    )  # fmt: skip
    exact = how not in APPROXIMATE
    read = memory = searches = 0
    for width, layers in lists_of(model, size.cameras):
        halo = min(size.gallery, rows * (1 + width))
        searches += 1
        every = (parts + blocks + 1) * size.gallery * line  # every task compares with all rows
        read += every if exact else AGAIN * every
        read += parts * (rows * 10 * width + halo * 8 * width)  # lists, edges
        read += parts * layers * (rows * (9 * width + line) + halo * line)
        held = rows * (4 * line + 26 * width) + halo * (4 * line + 16 * width)
        if width == NEAREST:
            held += rows * width * FEATURES * 8
        memory = max(memory, held)
    pairs = (size.gallery + size.queries) * size.gallery
    memory += IDLE + SEARCH + (0 if exact else LISTS + rows * LOOKED)
    seconds = searches * pairs * seconds_a_pair(size.width) / workers
    return Plan(parts, workers, read, memory, seconds, exact)


def lists_of(model: NFormer, cameras: int) -> list[tuple[int, int]]:
    """Return the width of each set of lists that refining makes, and how many layers read them."""
    found = []
    if isinstance(model, NFormerOnClosedForm):
        settings = model.closed_form.settings
        k = settings.neighbours
        found = [(k * cameras, 1)] * (settings.layers if k > 1 else 0)
        found += [(NEAREST, 1)] * settings.gate
    return found + [(model.neighbours, len(model.blocks))] * bool(len(model.blocks))


def seconds_a_pair(width: int) -> float:
    """Return the processor seconds that this machine takes to compare two rows in a search."""
    rows = np.random.default_rng(0).normal(size=(TRIED, width)).astype(np.float32)
    begun = time.process_time()
    nearest_of_all(rows[: TRIED // 8], iter([rows]), k=NEAREST)
    return (time.process_time() - begun) / (TRIED // 8 * TRIED)
