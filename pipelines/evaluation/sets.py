"""embeddings.h5 (+ graph.h5) -> the sets that an evaluation ranks, and their neighbour graphs."""

import time
from dataclasses import dataclass

import numpy as np

from ..artifacts.embeddings import load_embeddings, open_embeddings, splits_in
from ..artifacts.graph import load_graphs, save_graphs
from ..artifacts.manifest import Manifest
from ..artifacts.run import Run
from ..embeddings import Embeddings
from ..neighbours.graph import Neighbourhoods
from ..progress import Progress


@dataclass(frozen=True, eq=False)
class Sets:
    """Query, gallery and training embeddings without junk, and the graphs between the first two.

    query_rows, gallery_rows: the rows of embeddings.h5 that are left without junk.
    stored: the graphs that graph.h5 holds, with their widths.
    """

    near: Neighbourhoods
    train: Embeddings | None
    query_rows: np.ndarray
    gallery_rows: np.ndarray
    stored: frozenset[str]

    @property
    def query(self) -> Embeddings:
        """The queries."""
        return self.near.query_items

    @property
    def gallery(self) -> Embeddings:
        """The gallery."""
        return self.near.gallery_items


def read_sets(run: Run, *, method: str, device: str, progress: Progress) -> Sets:
    """Read a run's embeddings, and its graphs where they are of these embeddings.

    method: how neighbours are searched, as for `search`.
    """
    path = run.artifact("embeddings.h5")
    with open_embeddings(path) as file:
        splits = splits_in(file)
    query, gallery = load_embeddings(path, "query"), load_embeddings(path, "gallery")
    near = Neighbourhoods(
        query.without_junk(),
        gallery.without_junk(),
        device=device,
        method=method,
        progress=progress,
    )
    if run.holds(_graph_manifest(run, near)):
        near.graphs = load_graphs(run.path("graph.h5"))
    train = load_embeddings(path, "train").without_junk() if "train" in splits else None
    return Sets(
        near=near,
        train=train or None,  # nobody in it is known: as if it were not there
        query_rows=np.flatnonzero(query.pids >= 0),
        gallery_rows=np.flatnonzero(gallery.pids >= 0),
        stored=frozenset(_widths(near)),
    )


def keep_graphs(run: Run, sets: Sets) -> None:
    """Write graph.h5 where a graph was made that it does not hold, or a wider one."""
    graphs = sets.near.graphs
    if not graphs or set(_widths(sets.near)) <= sets.stored:
        return
    with run.writing(_graph_manifest(run, sets.near)) as (path, facts):
        facts["graphs"] = {name: str(graph.searched) for name, graph in graphs.items()}
        save_graphs(path, graphs)


class Stopwatch:
    """Seconds since it was made, and those of the graphs used that were made earlier."""

    def __init__(self, near: Neighbourhoods) -> None:
        self.near, self.held = near, dict(near.graphs)
        near.asked.clear()
        self.begun = time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds so far: each row of a table pays for the graphs that it uses."""
        spent = time.perf_counter() - self.begun
        used = [self.held[name] for name in self.near.asked if name in self.held]
        kept = list(self.near.graphs.values())
        return spent + sum(graph.seconds for graph in used if graph in kept)


def _graph_manifest(run: Run, near: Neighbourhoods) -> Manifest:
    inputs = {"embeddings.h5": run.digest("embeddings.h5")}
    return Manifest("graph.h5", "evaluate", {"search": near.method}, inputs)


def _widths(near: Neighbourhoods) -> list[str]:
    return [f"{name} {graph.index.shape[1]}" for name, graph in sorted(near.graphs.items())]
