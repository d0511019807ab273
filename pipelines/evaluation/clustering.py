"""The rows of a source -> clusters: which embeddings, which threshold, under which constraints."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..artifacts.cluster_files import Edited, Members, read_edited, read_pairs
from ..clustering.agreement import Agreement, agreement
from ..clustering.constraints import Constraints
from ..clustering.frames import apart_in_frames
from ..clustering.members import representatives, standing
from ..clustering.methods import Hierarchy, hierarchy
from ..clustering.names import PLAIN, REFINED
from ..clustering.threshold import Chosen, by_separation
from ..config import ClusterConfig
from ..files import file_digest
from ..neighbours.checked import unit_rows
from ..neighbours.graph import NeighbourGraph, neighbour_graph
from ..progress import Progress, Silent
from .cluster_sources import Source

FEWEST = 8  # training identities that are worth a calibration
HALVES = ((2, 2),)  # plan of its trials: the more rows are held out, the more like a test set


@dataclass(frozen=True)
class Asked:
    """What a person demands of a clustering beside its settings.

    threshold: a mean cosine from which on clusters are one; None: it is chosen.
    must_link, cannot_link: tables of pairs.   edited: a clusters.csv that was changed.
    frames: the column whose equal values are one frame: name, time, track…; "": none.
    """

    threshold: float | None = None
    must_link: Path | None = None
    cannot_link: Path | None = None
    edited: Path | None = None
    frames: str = ""

    def as_table(self) -> dict[str, Any]:
        """Return it for a manifest, files by their digests."""
        files = {"must_link": self.must_link, "cannot_link": self.cannot_link}
        files["edited"] = self.edited
        digests = {name: file_digest(path) if path else "" for name, path in files.items()}
        return {"threshold": self.threshold, "frames": self.frames, **digests}


@dataclass(frozen=True, eq=False)
class Found:
    """A clustering that nothing was written of: see `Clustered`."""

    members: Members
    embeddings: str
    chosen: Chosen
    agreement: Agreement | None
    notes: Sequence[str]


def find(
    source: Source,
    *,
    config: ClusterConfig = ClusterConfig(),
    asked: Asked = Asked(),
    device: str = "auto",
    progress: Progress = Silent(),
) -> Found:
    """Cluster the rows of a source, and write nothing."""
    names, pids = source.items.names, source.items.pids
    constraints, edited = _constraints(source, asked=asked)
    kind, known, notes = _embeddings_to_take(source, config=config, asked=asked)
    given = source.refined if kind == REFINED else source.plain
    assert given is not None
    progress.message(f"clustering {len(given):,} rows by {config.method}, {kind} embeddings")
    graph = neighbour_graph(
        given.features, config.neighbours, device=device, method=config.search, progress=progress
    )
    rows = unit_rows(given.features, "embeddings")
    found = hierarchy(config.method, rows, graph=graph, constraints=constraints)
    free = None if constraints else found
    chosen = _chosen(rows, graph, free=free, known=known, asked=asked, config=config)
    labels = found.cut(chosen.threshold)
    members = members_of(rows, labels, names=names, graph=graph, chosen=chosen)
    if edited is not None:
        called = {int(labels[row]): name for name, row in edited.called.items()}
        members = replace(members, confirmed=edited.confirmed, called=called)
        notes = [*notes, str(edited)]
    return Found(members, kind, chosen, agreement(labels, pids), notes)


def members_of(
    rows: np.ndarray,
    labels: np.ndarray,
    *,
    names: Sequence[str],
    graph: NeighbourGraph,
    chosen: Chosen,
) -> Members:
    """Return what is known of each row of a clustering; nobody has confirmed any."""
    stand = standing(rows, labels, graph=graph)
    medoid = np.zeros(len(rows), bool)
    medoid[representatives(rows, labels)] = True
    return Members(
        names,
        labels,
        stand.confidence(alone=max(0.0, 1 - chosen.threshold)),
        stand.nearest,
        stand.distance,
        medoid,
        np.zeros(len(rows), bool),
    )


def _constraints(source: Source, *, asked: Asked) -> tuple[Constraints, Edited | None]:
    """Return what a person demands, and what one decided in an edited table, where there is one."""
    items = source.items
    found, edited = Constraints(len(items)), None
    for path, together in ((asked.must_link, True), (asked.cannot_link, False)):
        if path is not None:
            found = found.joined(read_pairs(path, items.names, together=together))
    if asked.frames:
        found = found.joined(apart_in_frames(items, asked.frames, members=source.members))
    if asked.edited is not None:
        edited = read_edited(asked.edited, items.names)
        found = found.joined(edited.constraints)
    found.require_possible(items.names)
    return found, edited


def _embeddings_to_take(
    source: Source, *, config: ClusterConfig, asked: Asked
) -> tuple[str, Chosen | None, list[str]]:
    """Return plain or refined, the threshold for them that identities gave, and what to say.

    Refined is taken where it is there, unless it clusters held-out training identities worse, or
    the rows do not look like them. Without enough of those no threshold is known.
    """
    usual = REFINED if source.refined is not None else PLAIN
    forced = usual if config.embeddings == "auto" else config.embeddings
    train = source.train
    people = 0 if train is None else len(np.unique(train.pids))
    if train is None or people < FEWEST or (asked.threshold is not None and forced == PLAIN):
        why = [f"{people} training identities, of at least {FEWEST}: none to calibrate on"]
        return forced, None, why if train is not None and people < FEWEST else []
    # These load PyTorch, half a gigabyte that files of embeddings can do without.
    from ..artifacts.nformer import load_nformer
    from .cluster_threshold import calibrated
    from .recommend import domain_of, trials_of

    domain = source.domain or domain_of(train, source.items)
    if domain.foreign:
        return PLAIN if config.embeddings == "auto" else forced, None, [str(domain)]
    model, manifest = None, None
    if source.refined is not None and source.run is not None:
        manifest = source.run.manifest("nformer.pt")
        model = None if manifest is None else load_nformer(source.run.artifact("nformer.pt"))
    trials = list(trials_of(train, model, manifest=manifest, seed=config.seed, plan=HALVES))
    if not trials:
        return forced, None, ["no training identity has a match to calibrate on"]
    if usual == REFINED and model is None:
        return forced, None, ["refined by a model of another run: none to calibrate with"]
    rows = {PLAIN: source.items} | ({} if source.refined is None else {REFINED: source.refined})
    found = calibrated(
        trials,
        train=train,
        rows=rows,
        gallery=source.gallery,
        strangers=source.strangers,
        model=model,
        config=config,
    )
    taken = PLAIN if found.worse and config.embeddings == "auto" else forced
    return taken, found.chosen.get(taken), [str(found)]


def _chosen(
    rows: np.ndarray,
    graph: NeighbourGraph,
    *,
    free: Hierarchy | None,
    known: Chosen | None,
    asked: Asked,
    config: ClusterConfig,
) -> Chosen:
    """Return the threshold. Constraints change none that is chosen: free is made without any."""
    if asked.threshold is not None:
        return Chosen(asked.threshold, "given")
    if config.method == "hdbscan":
        return Chosen(1.0, "hdbscan's own choice")
    if known is not None:
        return known
    nothing = Constraints(len(rows))
    free = free or hierarchy(config.method, rows, graph=graph, constraints=nothing)
    return by_separation(free, rows, graph=graph, seed=config.seed)
