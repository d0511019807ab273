"""The edge gate: trained on edges of held-out identities, kept where others gain by it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..embeddings import Embeddings
from ..progress import Task
from ..ranking.metrics import score
from ..refiners.closed_form import ClosedForm, ClosedFormGallery, ClosedFormSettings
from ..refiners.edge_gate import EdgeGate, NearestLists, edge_features, joined
from ..refiners.fitting import TrainingRows, fit_closed_form
from ..refiners.mutual_neighbours import read
from ..seeding import derived_seed, numpy_generator, torch_generator
from .folds import Split, identity_splits

REPETITIONS = 3  # divisions of the identities into halves
ACROSS = (1,)  # divisions in which queries are of one camera and the gallery of the others
LARGEST = 4000  # rows held out in each half
SHARES = (0.5, 1.0)  # of the gate's rows beside those of the neighbour sums
FEWEST = 200  # edges of one person; fewer teach the gate nothing
STEPS, BATCH = 600, 4096
RATE, DECAY = 5e-3, 1e-3
LEAST_GAIN = 0.002  # held-out mAP below which the gate is dropped


@dataclass(frozen=True, eq=False)
class Edges:
    """Examples: features [E, 14], whether an edge is of one person [E], whose row it is from [E]."""

    features: Tensor
    same: Tensor
    persons: Tensor

    @staticmethod
    def joined(parts: "Sequence[Edges]") -> "Edges":
        """Return all edges as one set."""
        every = zip(*((part.features, part.same, part.persons) for part in parts), strict=True)
        return Edges(*map(torch.cat, every))

    @property
    def enough(self) -> bool:
        """Whether there are edges of one person, and of two, from which a gate can learn."""
        of_one = int(self.same.sum())
        return min(of_one, len(self.same) - of_one) >= FEWEST

    def without(self, persons: Tensor) -> "Edges":
        """Return the edges that are not from these persons' rows."""
        kept = ~torch.isin(self.persons, persons)
        return Edges(self.features[kept], self.same[kept], self.persons[kept])


@dataclass(frozen=True, eq=False)
class Trial:
    """Held-out queries and a gallery after a closed form that was fitted on other identities.

    counted: gallery rows that are held out; those after them are of the identities fitted on.
    own:     queries standardised, [Q, d].   summed: after the neighbour sums, [Q, d].
    near:    the items nearest to each query.   of_query, of_items: features of the edges.
    """

    query: TrainingRows
    gallery: TrainingRows
    counted: int
    own: Tensor
    summed: Tensor
    refined: ClosedFormGallery
    near: NearestLists
    items: NearestLists
    of_query: Tensor
    of_items: Tensor

    def examples(self) -> "Edges":
        """Return the edges from held-out rows."""
        counted, labels = self.counted, self.gallery.labels
        one = self.query.labels[:, None] == labels[self.near.lists]
        same = labels[:counted, None] == labels[self.items.lists[:counted]]
        width = self.of_query.shape[1]
        return Edges(
            torch.cat([self.of_query.flatten(0, 1), self.of_items[:counted].flatten(0, 1)]),
            torch.cat([one.flatten(), same.flatten()]).float(),
            torch.cat([self.query.labels, labels[:counted]]).repeat_interleave(width),
        )

    def scored(self, gate: EdgeGate, *, share: float) -> tuple[float, float]:
        """Return the queries' mAP and rank-1 among the whole gallery, with a share of the gate."""
        query, gallery = self.summed, self.refined.refined
        if share:
            items = self.refined.hidden[0]
            weights = gate.weights(self.of_query, query=True)
            gated = read(self.own, items, lists=self.near.lists, weights=weights)
            query = joined(query, gated, share=share)
            weights = gate.weights(self.of_items, query=False)
            gated = read(items, items, lists=self.items.lists, weights=weights)
            gallery = joined(gallery, gated, share=share)
        found = score(_as_embeddings(query, self.query), _as_embeddings(gallery, self.gallery))
        return found.mean_ap, found.rank(1)


@dataclass(frozen=True, eq=False)
class Trained:
    """The gate, the share that ranks best, and what held-out identities gained: facts."""

    gate: EdgeGate | None
    share: float
    facts: dict[str, Any]


def train_edge_gate(
    train: TrainingRows, settings: ClosedFormSettings, *, seed: int, task: Task
) -> Trained:
    """Train the gate on cross-fitted edges and choose its share; 0 where others gain too little.

    The identities are divided into halves, three times. A closed form fitted on one half refines
    the other, by itself and with the first half as distractors; its edges are examples. What a
    gate gains is measured on persons of whom it has seen no edge.
    """
    trials = [
        trial
        for number in range(REPETITIONS)
        for trial in _trials(train, settings, seed=seed, number=number)
    ]
    edges = Edges.joined([trial.examples() for trial in trials]) if trials else None
    if edges is None or not edges.enough:
        return Trained(None, 0.0, {"gate_edges": 0})
    gains = []
    for plain, crowded in zip(trials[::2], trials[1::2], strict=True):
        seen = edges.without(plain.gallery.labels)
        if seen.enough:
            gate = fit_gate(seen, steps=STEPS, seed=seed, task=task)
            gains += [_gains(trial, gate) for trial in (plain, crowded)]
    share, facts = best_share(np.array(gains))
    facts["gate_edges"] = len(edges.same)
    gate = fit_gate(edges, steps=STEPS, seed=seed, task=task) if share else None
    return Trained(gate, share, facts)


def best_share(gains: np.ndarray) -> tuple[float, dict[str, Any]]:
    """Return the share that gains most mAP on held-out trials, and how much; 0 within the error.

    gains: [T, S, 2] of T trials by each share, in mAP and in rank-1, which must not fall by more
    than its error.
    """
    found: tuple[float, dict[str, Any]] = (0.0, {"gate_gain": 0.0, "gate_gain_error": 0.0})
    for number, share in enumerate(SHARES if len(gains) else ()):
        mean, error = (
            gains[:, number].mean(axis=0),
            gains[:, number].std(axis=0) / len(gains) ** 0.5,
        )
        helps = mean[0] > max(LEAST_GAIN, error[0]) and mean[1] >= -error[1]
        if helps and mean[0] > found[1]["gate_gain"]:
            found = share, {"gate_gain": float(mean[0]), "gate_gain_error": float(error[0])}
    return found


def fit_gate(edges: Edges, *, steps: int, seed: int, task: Task) -> EdgeGate:
    """Train a gate to tell edges of one person, by binary cross-entropy."""
    features = edges.features
    generator = torch_generator(seed, "edge gate")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "edge gate's weights"))
        gate = EdgeGate()
    gate.centre.copy_(features.mean(dim=0))
    gate.scale.copy_(features.std(dim=0) + 1e-3)
    optimizer = torch.optim.AdamW(gate.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(len(features), (BATCH,), generator=generator)
        loss = functional.binary_cross_entropy_with_logits(gate(features[rows]), edges.same[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    task.advance()
    return gate.eval()


def _trials(
    train: TrainingRows, settings: ClosedFormSettings, *, seed: int, number: int
) -> Iterator[Trial]:
    """Yield trials of both halves of the identities, each refined by a form fitted on the other.

    Two of each half: its own gallery, and this with the other half as distractors.
    """
    pids, camids = train.labels.numpy(), train.camids.numpy()
    random = numpy_generator(seed, "camera of the queries", number)
    for split in identity_splits(
        pids, camids, seed=derived_seed(seed, "edges", number), plan=((2, 1),), most=LARGEST
    ):
        if number in ACROSS:
            split = across_cameras(split, camids, random=random)
        masks = map(torch.from_numpy, (split.fit, split.query, split.gallery))
        fit, query, gallery = (train.select(mask) for mask in masks)
        closed_form, counted = fit_closed_form(fit, settings), len(gallery.rows)
        for items in (gallery, gallery.joined(fit)):
            yield _trial(closed_form, query, gallery=items, counted=counted)


def across_cameras(split: Split, camids: np.ndarray, *, random: np.random.Generator) -> Split:
    """Return a split whose queries are the rows of one camera, its gallery those of the others."""
    rows = split.query | split.gallery
    cameras = np.unique(camids[rows])
    if len(cameras) < 2:
        return split
    query = rows & (camids == random.choice(cameras))
    return replace(split, query=query, gallery=rows & ~query)


def _trial(
    closed_form: ClosedForm, query: TrainingRows, *, gallery: TrainingRows, counted: int
) -> Trial:
    refined = closed_form.gallery(gallery.rows, gallery.camids)
    own = closed_form.standardise(query.rows, query.camids, means=refined.means)
    near, items = NearestLists.to(refined.hidden[0], own), NearestLists.of(refined.hidden[0])
    cameras = {"item_camids": gallery.camids}
    return Trial(
        query,
        gallery,
        counted,
        own,
        closed_form.query(refined, query.rows, camids=query.camids),
        refined,
        near,
        items,
        edge_features(near, items, camids=query.camids, query=True, **cameras),
        edge_features(items, items, camids=gallery.camids, query=False, **cameras),
    )


def _gains(trial: Trial, gate: EdgeGate) -> np.ndarray:
    """Return what each share gains in mAP and in rank-1: [S, 2]."""
    found = [trial.scored(gate, share=share) for share in (0.0, *SHARES)]
    return np.subtract(found[1:], found[0])


def _as_embeddings(rows: Tensor, labelled: TrainingRows) -> Embeddings:
    return Embeddings(rows.numpy(), labelled.labels.numpy(), labelled.camids.numpy())
