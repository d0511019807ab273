"""Clusters of the default beside plain DBSCAN, average linkage and HDBSCAN, on many sets."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..artifacts.run import Run
from ..clustering.agreement import Agreement, agreement
from ..clustering.dendrogram import in_order_of_rows
from ..clustering.methods import Hierarchy
from ..clustering.names import PLAIN, require_method
from ..clustering.threshold import Trial, by_identities, by_separation
from ..config import ClusterConfig
from ..embeddings import Embeddings
from ..evaluation.cluster_sources import Source, of_run
from ..evaluation.cluster_threshold import Among, nobody
from ..evaluation.clustering import HALVES, find
from ..evaluation.foresee import spread_together
from ..evaluation.recommend import domain_of, trials_of
from ..neighbours.checked import unit_rows
from ..neighbours.graph import neighbour_graph
from ..progress import Progress, Silent
from ..stages.refine import refine_run
from .accuracy_figures import Kept
from .accuracy_sets import drawn_cases, given_cases
from .record import Record

TITLE = (
    "ARI / BCubed F in % of clusters found without labels; every threshold chosen in the same "
    "manner, on training identities among the rows, spread to be as near to each other as these, "
    "or, where they are foreign, by separation (HDBSCAN: by its own stability)"
)
COLUMNS = (
    *("", "rows, identities", "DBSCAN, plain", "agglomerative, plain", "HDBSCAN, plain"),
    *("ours, plain", "ours"),
)
DRAWN = ("eight images, width 128", "strong poses, two cameras", "two images, camera to camera")
LEAST = 0.0005  # differences that a figure in % with one digit shows
LEVELS = 30  # thresholds that a baseline is compared at


def measure(
    *,
    quick: bool = False,
    sets: Sequence[str] = (),
    keep: str | None = None,
    progress: Progress = Silent(),
) -> Record:
    """Cluster every set in each way, and compare with its labels.

    sets: runs, and folders of embedding files; those without an nformer.pt are trained on first.
    keep: a folder for what is trained.

    Raises:
        BadInput: scikit-learn is not installed, or a set lacks a split.
    """
    require_method("hdbscan")
    with tempfile.TemporaryDirectory(prefix="nformer-clusters-") as scratch:
        runs = list(_runs(Kept(Path(keep or scratch)), quick=quick, sets=sets))
        rows, refined, plain, others = [], [], [], []
        with progress.task("cluster", len(runs), unit="sets") as task:
            for name, make in runs:
                source = make()
                found = figures(source)
                plain.append(found[COLUMNS[-2]])
                refined.append(found[COLUMNS[-1]])
                others.append([found[title] for title in COLUMNS[2:5]])
                rows.append(_row(name, found))
                task.advance()
    told = summary([row[0] for row in rows], plain=plain, refined=refined, others=others)
    return Record(TITLE, list(COLUMNS), rows, told)


def _runs(
    kept: Kept, *, quick: bool, sets: Sequence[str]
) -> Iterator[tuple[str, Callable[[], Source]]]:
    """Yield the name of each set, and what makes its source."""
    given = [Path(folder) for folder in sets]
    trained = [folder for folder in given if (folder / "nformer.pt").exists()]
    for folder in trained:
        yield folder.resolve().name, lambda folder=folder: _source(Run(folder))  # type: ignore[misc]
    cases = list(given_cases([str(folder) for folder in given if folder not in trained]))
    drawn = drawn_cases(quick=quick, seeds=1)
    cases += [case for case in drawn if case.name in DRAWN]
    for case in cases:
        yield case.name, lambda case=case: _source(kept.run(case))  # type: ignore[misc]


def _source(run: Run) -> Source:
    if run.manifest("refined.h5") is None:
        refine_run(run)
    return of_run(run, refined=True, progress=Silent())


def figures(source: Source) -> dict[str, Agreement]:
    """Return how the clusters of each way agree with the labels, by the titles of columns."""
    assert source.plain is not None and source.train is not None
    rows = unit_rows(source.plain.features, "embeddings")
    domain = source.domain or domain_of(source.train, source.plain)
    train = unit_rows(_as_near(source).features, "training embeddings")
    both, pids = np.concatenate([train, rows]), source.train.pids
    known = np.concatenate([pids, np.full(len(rows), -1)])
    found = {}
    for title, way in zip(COLUMNS[2:5], BASELINES, strict=True):
        hierarchy = way(rows)
        if domain.foreign:
            graph = neighbour_graph(rows, ClusterConfig.neighbours, device="cpu")
            chosen = by_separation(hierarchy, rows, graph=graph)
        else:
            chosen = by_identities([Trial(way(both), known)])
        found[title] = _agreement(hierarchy.cut(chosen.threshold), source)
    for title, config in zip(
        COLUMNS[5:], (ClusterConfig(embeddings="plain"), ClusterConfig()), strict=True
    ):
        found[title] = _agreement(find(source, config=config).members.identity, source)
    return found


def _as_near(source: Source) -> Embeddings:
    """Return the training rows, spread as for the thresholds that are chosen on them."""
    assert source.plain is not None and source.train is not None
    if not source.strangers:
        return source.train
    trials = list(trials_of(source.train, None, manifest=None, seed=0, plan=HALVES))
    among = Among(trials, nobody(source.plain, seed=0), config=ClusterConfig())
    factor = among.spread(PLAIN, like=source.plain) if trials else 1.0
    return spread_together([source.train], factor=factor)[0]


class Dense:
    """A method of scikit-learn on all N × N distances: what is measured against."""

    def __init__(self, rows: np.ndarray) -> None:
        self.distances = np.clip(1 - rows.astype(np.float64) @ rows.T, 0, 2)
        np.fill_diagonal(self.distances, 0)

    def levels(self, count: int) -> np.ndarray:
        """Return thresholds that split the similarities of nearest rows evenly."""
        apart = self.distances + 4 * np.eye(len(self.distances))
        nearest = 1 - np.sort(apart, axis=1)[:, : min(5, len(apart) - 1)]
        return np.unique(np.quantile(nearest, np.linspace(0, 1, min(count, LEVELS))))[::-1]

    def cut(self, threshold: float) -> np.ndarray:
        """Return the clusters [N] of rows nearer than a threshold; a row that has none is alone."""
        given = self.method(1 - threshold).fit(self.distances).labels_
        alone, labels = given < 0, given.astype(np.int64)
        labels[alone] = labels.max(initial=-1) + 1 + np.arange(alone.sum())
        return in_order_of_rows(labels)

    def method(self, distance: float) -> Any:
        """Return scikit-learn's DBSCAN: a core has another row within the distance."""
        from sklearn.cluster import DBSCAN

        return DBSCAN(eps=max(distance, 1e-9), min_samples=2, metric="precomputed")


class DenseLinkage(Dense):
    """Average linkage."""

    def method(self, distance: float) -> Any:
        """Return scikit-learn's, cut at a distance."""
        from sklearn.cluster import AgglomerativeClustering

        return AgglomerativeClustering(
            n_clusters=None, distance_threshold=distance, linkage="average", metric="precomputed"
        )


class DenseHierarchy(Dense):
    """HDBSCAN of clusters of two rows at least, by its own stability at any threshold."""

    def levels(self, count: int) -> np.ndarray:
        """Return one threshold, which is not looked at."""
        return np.ones(1)

    def method(self, distance: float) -> Any:
        """Return scikit-learn's."""
        from sklearn.cluster import HDBSCAN

        return HDBSCAN(min_cluster_size=2, metric="precomputed", copy=True)


BASELINES: tuple[Callable[[np.ndarray], Hierarchy], ...] = (
    Dense,
    DenseLinkage,
    DenseHierarchy,
)


def summary(
    names: Sequence[str],
    *,
    plain: Sequence[Agreement],
    refined: Sequence[Agreement],
    others: Sequence[Sequence[Agreement]],
) -> list[str]:
    """Return where the default falls below what clusters plain embeddings.

    others: of each set, the agreement of each of scikit-learn's methods.
    """
    lines = []
    for what, title in (("ari", "ARI"), ("bcubed", "BCubed F")):
        values, unrefined = (
            np.array([getattr(one, what) for one in each]) for each in (refined, plain)
        )
        best = np.array([max(getattr(one, what) for one in each) for each in others])
        lines.append(
            f"{title}, ours less ours on plain embeddings: "
            f"{100 * (values - unrefined).mean():+.1f} on the average; "
            f"below on {_below(names, values - unrefined)}; "
            f"below the best of the other methods on {_below(names, values - best)}. "
        )
    return lines


def _below(names: Sequence[str], gains: np.ndarray) -> str:
    found = [
        f"{name} {100 * gain:+.1f}"
        for name, gain in zip(names, gains.tolist(), strict=True)
        if gain < -LEAST
    ]
    return ", ".join(found) or "none"


def _agreement(labels: np.ndarray, source: Source) -> Agreement:
    found = agreement(labels, source.items.pids)
    assert found is not None
    return found


def _row(name: str, found: dict[str, Agreement]) -> list[str]:
    one = found[COLUMNS[-1]]
    cells = [f"{100 * each.ari:.1f} / {100 * each.bcubed:.1f}" for each in found.values()]
    return [name, f"{one.rows:,}, {one.identities:,}", *cells]
