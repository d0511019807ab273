"""embeddings.h5 (+ graph.h5) -> the sets that an evaluation ranks, and their neighbour graphs."""

import time
from dataclasses import dataclass, replace

import numpy as np

from ..artifacts.embeddings import load_embeddings, open_embeddings, splits_in
from ..artifacts.graph import load_graphs, save_graphs
from ..artifacts.manifest import Manifest
from ..artifacts.run import Run
from ..config import EvaluateConfig
from ..data.catalogue import rules_of
from ..embeddings import Embeddings
from ..neighbours.graph import Neighbourhoods
from ..progress import Progress
from ..ranking.rules import AUTO, MARKET1501, Rules, Selection, require_labels, rules_named


@dataclass(frozen=True, eq=False)
class Sets:
    """Query, gallery and training embeddings without junk, and the graphs between the first two.

    Where the rules leave a query out of its own list, and queries and gallery are the same items,
    they are one set.

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

    def part(self, rows: Selection) -> "Sets":
        """Return the sets of a gallery that was drawn; its graphs are its own, and not kept."""
        return replace(
            self,
            near=self.near.like(self.query.select(rows.query), self.gallery.select(rows.gallery)),
            query_rows=self.query_rows[rows.query],
            gallery_rows=self.gallery_rows[rows.gallery],
        )


def rules_for(run: Run, config: EvaluateConfig) -> Rules:
    """Return the rules asked for; "auto": those kept with the embeddings, or their data set's."""
    if config.rules != AUTO:
        return rules_named(config.rules)
    facts = run.facts("embeddings.h5")
    return rules_named(str(facts.get("rules") or rules_of(str(facts.get("dataset") or ""))))


def read_sets(
    run: Run, *, method: str, device: str, progress: Progress, rules: Rules = MARKET1501
) -> Sets:
    """Read a run's embeddings, and its graphs where they are of these embeddings.

    rules:  whom a query will be compared with.
    method: how neighbours are searched, as for `search`.

    Raises:
        BadInput: the rules go by labels that the embeddings do not have.
    """
    path = run.artifact("embeddings.h5")
    with open_embeddings(path) as file:
        splits = splits_in(file)
    query, gallery = load_embeddings(path, "query"), load_embeddings(path, "gallery")
    require_labels(rules, query, gallery=gallery)
    known = gallery.without_junk()
    near = Neighbourhoods(
        known if rules.skips_itself and _alike(query, gallery) else query.without_junk(),
        known,
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


def has_items(run: Run) -> bool:
    """Return whether there is anything to rank: a query or a gallery."""
    with open_embeddings(run.artifact("embeddings.h5")) as file:
        return "query" in file or "gallery" in file


def labelled(run: Run) -> bool:
    """Return whether an identity is known both of a query and of a gallery item."""
    with open_embeddings(run.artifact("embeddings.h5")) as file:
        return all(
            name in file and bool((file[name]["pids"][:] >= 0).any())
            for name in ("query", "gallery")
        )


def _alike(query: Embeddings, gallery: Embeddings) -> bool:
    return query.names == gallery.names and np.array_equal(query.features, gallery.features)


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
    config = {"search": near.method} | ({"one_set": True} if near.one_set else {})
    return Manifest("graph.h5", "evaluate", config, inputs)


def _widths(near: Neighbourhoods) -> list[str]:
    return [f"{name} {graph.index.shape[1]}" for name, graph in sorted(near.graphs.items())]
