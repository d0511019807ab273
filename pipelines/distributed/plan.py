"""What refining in parts will take, foreseen from the sizes of a set and the model's settings."""

import time
from dataclasses import dataclass

import numpy as np

from ..neighbours.candidates import CandidateLists, collect, sample_rank
from ..neighbours.nearest import APPROXIMATE, choose
from ..neighbours.self_join_bf16 import candidates_of, products_of
from ..nformer.model import NFormer
from ..nformer.on_closed_form import NFormerOnClosedForm
from ..progress import Silent
from ..refiners.edge_gate import FEATURES, NEAREST
from .join import sampling
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

    read:    bytes that tasks read of each other's files, nearly.
    memory:  bytes of a worker, nearly.   seconds: of the searches, by all workers together.
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
            f"{self.parts} parts, {self.workers} workers: about {self.read / 1e9:.3g} GB read of "
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
    read = memory = 0
    seconds, searching = 0.0, seconds_a_pair(size.width)
    for width, layers, of_all in lists_of(model, size.cameras):
        halo = min(size.gallery, rows * (1 + width))
        every = (parts + blocks + 1) * size.gallery * line  # every task compares with all rows
        seconds += size.queries * size.gallery * searching
        if exact and of_all:
            joined, its_memory = joining(size, k=width, parts=parts)
            read += joined + blocks * size.gallery * line
            memory = max(memory, its_memory)
            seconds += size.gallery**2 * seconds_a_pair_joined(size, k=width)
        else:
            read += every if exact else AGAIN * every
            seconds += size.gallery**2 * searching
            # of each camera, the last one that a row lists
            read += parts * size.cameras * min(size.gallery // size.cameras, rows) * line
        read += parts * (rows * 10 * width + halo * 8 * width)  # lists, edges
        read += parts * layers * (rows * (9 * width + line) + halo * line)
        held = rows * (4 * line + 26 * width) + halo * (4 * line + 16 * width)
        if width == NEAREST + 1:
            held += rows * width * FEATURES * 8
        memory = max(memory, held)
    memory += IDLE + SEARCH + (0 if exact else LISTS + rows * LOOKED)
    return Plan(parts, workers, read, memory, seconds / workers, exact)


def joining(size: Size, *, k: int, parts: int) -> tuple[int, int]:
    """Return nearly the bytes that a self-join in parts reads, and those that a worker holds."""
    G, line, kept = size.gallery, 4 * size.width, candidates_of(k)
    rows, sampled = -(-G // parts), -(-G // sampling(G))
    each = min(G, parts * kept, sample_rank(k, sampled=sampled, rows=G) * sampling(G))
    halo = min(G, rows * each)
    read = line * (parts * sampled + 2 * G)  # bounds and decisions, with the rows of a part
    read += line * parts * (2 * G + halo)  # pairs, rows in doubt, candidates
    read += 8 * parts * G + 8 * G + 2 * 16 * G * each  # bounds, and candidates of either part
    room = CandidateLists(kept, 0, wanted=k).room
    pair, decision = 2 * rows * (6 * size.width + 8 * room), rows * (line + 48 * kept) + halo * line
    return read, max(pair, decision)


def lists_of(model: NFormer, cameras: int) -> list[tuple[int, int, bool]]:
    """Return the lists that refining makes: their width, the layers that read them, and of whom.

    The third says whether they are of all rows, and not of each camera's.
    """
    found: list[tuple[int, int, bool]] = []
    if isinstance(model, NFormerOnClosedForm):
        settings = model.closed_form.settings
        k = settings.neighbours
        found += [(k * cameras, 1, cameras == 1)] * (settings.layers if k > 1 else 0)
        found += [(NEAREST + 1, 1, True)] * settings.gate
    return found + [(model.neighbours, len(model.blocks), True)] * bool(len(model.blocks))


def seconds_a_pair(width: int) -> float:
    """Return the processor seconds that a search takes here to compare a row with another."""
    rows = np.random.default_rng(0).normal(size=(TRIED, width)).astype(np.float32)
    begun = time.process_time()
    nearest_of_all(rows[: TRIED // 8], iter([rows]), k=NEAREST)
    return (time.process_time() - begun) / (TRIED // 8 * TRIED)


def seconds_a_pair_joined(size: Size, *, k: int) -> float:
    """Return those of a self-join, for each row and each other one."""
    rows = np.random.default_rng(0).normal(size=(TRIED, size.width)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    begun = time.process_time()
    lists = CandidateLists(candidates_of(k), TRIED, wanted=k)
    collect(products_of(rows, among=size.gallery), lists, least=False, progress=Silent())
    return (time.process_time() - begun) / TRIED**2
