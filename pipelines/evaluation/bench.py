"""embeddings.h5 -> what an evaluation ranks: its sets, their graphs, and the lists that come out"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..artifacts.embeddings import load_embeddings, open_embeddings, splits_in
from ..artifacts.graph import load_graphs, save_graphs
from ..artifacts.manifest import Manifest
from ..artifacts.run import Run
from ..config import EvaluateConfig
from ..embeddings import Embeddings
from ..neighbours.graph import Neighbourhoods
from ..progress import Progress
from ..ranking.metrics import Ranking

if TYPE_CHECKING:
    from .recommend import Recommendation


@dataclass(eq=False)
class Bench:
    """What is ranked, with which settings, and the lists that came out.

    query_rows, gallery_rows: the rows of embeddings.h5 that are left without junk.
    """

    config: EvaluateConfig
    device: str
    progress: Progress
    near: Neighbourhoods
    train: Embeddings | None
    query_rows: np.ndarray
    gallery_rows: np.ndarray
    graph_manifest: Manifest
    loaded: frozenset[str] = frozenset()
    advice: "Recommendation | None" = None
    camera_aware: bool = False  # NFormer
    rankings: dict[str, Ranking] = field(default_factory=dict)
    precision: dict[str, np.ndarray] = field(default_factory=dict)

    @staticmethod
    def of(run: Run, config: EvaluateConfig, device: str, progress: Progress) -> "Bench":
        """Read a run's embeddings, and its graphs where they are of these embeddings."""
        path = run.artifact("embeddings.h5")
        with open_embeddings(path) as file:
            splits = splits_in(file)
        query, gallery = load_embeddings(path, "query"), load_embeddings(path, "gallery")
        near = Neighbourhoods(
            query.without_junk(),
            gallery.without_junk(),
            device=device,
            method=config.search,
            progress=progress,
        )
        inputs = {"embeddings.h5": run.digest("embeddings.h5")}
        manifest = Manifest("graph.h5", "evaluate", {"search": config.search}, inputs)
        if run.holds(manifest):
            near.graphs = load_graphs(run.path("graph.h5"))
        return Bench(
            config=config,
            device=device,
            progress=progress,
            near=near,
            train=load_embeddings(path, "train").without_junk() if "train" in splits else None,
            query_rows=np.flatnonzero(query.pids >= 0),
            gallery_rows=np.flatnonzero(gallery.pids >= 0),
            graph_manifest=manifest,
            loaded=frozenset(_widths(near)),
        )


class Cost:
    """What graphs made earlier would have cost a method that uses them: every row pays its own."""

    def __init__(self, near: Neighbourhoods) -> None:
        self.near, self.held = near, dict(near.graphs)
        near.asked.clear()

    def already_paid(self) -> float:
        """Return the seconds of the graphs used since, of those that were there before."""
        used = [self.held[name] for name in self.near.asked if name in self.held]
        return sum(graph.seconds for graph in used if graph in self.near.graphs.values())


def keep_graphs(run: Run, bench: Bench) -> None:
    """Write graph.h5 when this evaluation made a graph that was not there, or a wider one."""
    if not bench.near.graphs or set(_widths(bench.near)) <= bench.loaded:
        return
    with run.writing(bench.graph_manifest) as (path, facts):
        facts["graphs"] = {name: str(g.searched) for name, g in bench.near.graphs.items()}
        save_graphs(path, bench.near.graphs)


def _widths(near: Neighbourhoods) -> list[str]:
    return [f"{name} {graph.index.shape[1]}" for name, graph in sorted(near.graphs.items())]
