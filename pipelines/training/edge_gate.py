"""The edge gate: trained on edges of held-out identities, kept unless others lose by it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..embeddings import Embeddings
from ..nformer.layerwise import fitting_threads
from ..progress import Task
from ..ranking.metrics import score
from ..refiners.closed_form import ClosedForm, ClosedFormSettings
from ..refiners.edge_gate import OF_SET, EdgeGate, Gated, item_features, joined, query_features
from ..refiners.fitting import TrainingRows, fit_closed_form
from ..refiners.mutual_neighbours import read
from ..seeding import derived_seed, numpy_generator, torch_generator
from .folds import Split, identity_splits

REPETITIONS = 3  # divisions of the identities into halves
PARTS = 4 * REPETITIONS + 1  # of training: two halves each time, a gate each, and the last gate
ACROSS = (1,)  # divisions in which queries are of one camera and the gallery of the others
BLIND = (2,)  # divisions in which the gate is shown no camera
LARGEST = 4000  # rows held out in each half
THINNED = (1, 2, 4, 8)  # gallery images that persons are left with, where they have more
FEWEST = 1000  # edges of one person; a gate that learned of fewer harms
STEPS, BATCH = 600, 2048
CONSTANT = 1e-4  # deviation below which a feature tells nothing
RATE, DECAY = 5e-3, 1e-3
TOLERANCE = 0.005  # that it may cost: the gates tried have seen fewer edges than the one kept


@dataclass(frozen=True, eq=False)
class Edges:
    """Examples: features [E, 18], which are of one person [E], and whose row each is from [E]."""

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
    camids:  the queries' cameras [Q] as the gate is shown them.
    own:     queries standardised, [Q, d].   summed: after the neighbour sums, [Q, d].
    refined: the gallery after these.        items: the gallery standardised, with its lists.
    """

    query: TrainingRows
    gallery: TrainingRows
    counted: int
    camids: Tensor
    own: Tensor
    summed: Tensor
    refined: Tensor
    items: Gated

    @staticmethod
    def of(
        closed_form: ClosedForm,
        query: TrainingRows,
        *,
        gallery: TrainingRows,
        counted: int,
        blind: bool,
    ) -> "Trial":
        """Refine queries and a gallery by the closed form; blind: the gate is shown no camera."""
        found = closed_form.gallery(gallery.rows, gallery.camids)
        own = closed_form.standardise(query.rows, query.camids, means=found.means)
        summed = closed_form.query(found, query.rows, camids=query.camids)
        asking, there = (
            torch.full_like(part.camids, -1) if blind else part.camids for part in (query, gallery)
        )
        items = Gated.of(found.hidden[0], there)
        return Trial(query, gallery, counted, asking, own, summed, found.refined, items)

    def examples(self) -> Edges:
        """Return the edges from held-out rows."""
        counted, labels = self.counted, self.gallery.labels
        lists, features = query_features(self.items, self.own, camids=self.camids)
        of_items = item_features(self.items)[:counted]
        one = self.query.labels[:, None] == labels[lists]
        same = labels[:counted, None] == labels[self.items.lists[:counted]]
        return Edges(
            torch.cat([features.flatten(0, 1), of_items.flatten(0, 1)]),
            torch.cat([one.flatten(), same.flatten()]).float(),
            torch.cat(
                [
                    self.query.labels.repeat_interleave(lists.shape[1]),
                    labels[:counted].repeat_interleave(of_items.shape[1]),
                ]
            ),
        )

    def gain(self, gate: EdgeGate) -> np.ndarray:
        """Return what reading through a gate gains in mAP and in rank-1: [2]."""
        lists, weights = gate.edges(self.items, self.own, camids=self.camids)
        query = read(self.own, self.items.rows, lists=lists, weights=weights)
        gated = joined(self.summed, query), joined(self.refined, gate.read_items(self.items))
        return np.subtract(self._scored(*gated), self._scored(self.summed, self.refined))

    def _scored(self, query: Tensor, gallery: Tensor) -> tuple[float, float]:
        found = score(_as_embeddings(query, self.query), _as_embeddings(gallery, self.gallery))
        return found.mean_ap, found.rank(1)


@dataclass(frozen=True, eq=False)
class Trials:
    """Trials of one split of the identities: with all images of a person, and with fewer."""

    whole: list[Trial]
    thinned: list[Trial]


def train_edge_gate(
    train: TrainingRows, settings: ClosedFormSettings, *, cameras: bool, seed: int, task: Task
) -> tuple[EdgeGate | None, dict[str, Any]]:
    """Train the gate on cross-fitted edges; None where held-out identities lose by it. And facts.

    It is kept unless mAP or rank-1 fall by more than their error and `TOLERANCE`, for a gate tried
    has seen fewer edges than the one kept: a gain within its error keeps it.

    The identities are divided into halves, three times. A closed form fitted on one half refines
    the other, by itself and with the first half as distractors; its edges are examples. So are
    those of galleries in which each person has fewer images. What a gate gains is measured on
    persons of whom it has seen no edge, with all of their images.
    cameras: whether the gate may use camera ids; it learns to do without them as well.
    """
    splits = []
    for number in range(REPETITIONS):
        for trials in _trials(train, settings, cameras=cameras, seed=seed, number=number):
            splits.append(trials)
            task.advance()
    whole = [trial.examples() for trials in splits for trial in trials.whole]
    thinned = [trial.examples() for trials in splits for trial in trials.thinned]
    if not whole or not Edges.joined(whole).enough:
        task.skip(PARTS - len(splits))  # none of the gates is wanted
        return None, {"gate_edges": 0}
    edges, profiled = Edges.joined([*whole, *thinned]), bool(thinned)
    gains = []
    for trials in splits:
        others = edges.without(trials.whole[0].gallery.labels)
        gate = fit_gate(others, profiled=profiled, seed=seed, task=task)
        gains += [trial.gain(gate) for trial in trials.whole]
    mean, error = np.mean(gains, axis=0), np.std(gains, axis=0) / len(gains) ** 0.5
    facts = {
        "gate_edges": len(edges.same),
        "gate_gain": float(mean[0]),
        "gate_gain_error": float(error[0]),
    }
    if (mean < -np.maximum(TOLERANCE, error)).any():
        task.skip(1)  # the last gate is not wanted
        return None, facts
    return fit_gate(edges, profiled=profiled, seed=seed, task=task), facts


def fit_gate(edges: Edges, *, profiled: bool, seed: int, task: Task) -> EdgeGate:
    """Train a gate to tell edges of one person, by binary cross-entropy.

    profiled: whether it looks at the features of whole sets, which tell how many images a person
              has; not where all sets learned from have the same number.
    """
    features = edges.features
    generator = torch_generator(seed, "edge gate")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "edge gate's weights"))
        gate = EdgeGate()
    gate.centre.copy_(features.mean(dim=0))
    deviation = features.std(dim=0)
    gate.scale.copy_(torch.where(deviation > CONSTANT, deviation, torch.inf))
    if not profiled:
        gate.scale[OF_SET] = torch.inf
    optimizer = torch.optim.AdamW(gate.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    with fitting_threads(features[:1]):  # a step is too short to be shared by threads
        for _ in range(STEPS):
            rows = torch.randint(len(features), (BATCH,), generator=generator)
            logits, same = gate(features[rows]), edges.same[rows]
            loss = functional.binary_cross_entropy_with_logits(logits, same)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    task.advance()
    return gate.eval()


def _trials(
    train: TrainingRows, settings: ClosedFormSettings, *, cameras: bool, seed: int, number: int
) -> Iterator[Trials]:
    """Yield trials of both halves of the identities, each refined by a form fitted on the other.

    A gallery by itself, and with the other half as distractors; then both of fewer images a person.
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
        images = len(gallery.rows) / len(gallery.labels.unique())
        tried = partial(
            _with_and_without_distractors,
            fit_closed_form(fit, settings),
            query=query,
            blind=not cameras or number in BLIND,
        )
        thinned = [
            trial
            for most in THINNED
            if most < images - 0.5
            for trial in tried(
                gallery=thin(gallery, most, random=random), others=thin(fit, most, random=random)
            )
        ]
        yield Trials(tried(gallery=gallery, others=fit), thinned)


def _with_and_without_distractors(
    closed_form: ClosedForm,
    *,
    query: TrainingRows,
    gallery: TrainingRows,
    others: TrainingRows,
    blind: bool,
) -> list[Trial]:
    return [
        Trial.of(closed_form, query, gallery=items, counted=len(gallery.rows), blind=blind)
        for items in (gallery, gallery.joined(others))
    ]


def thin(rows: TrainingRows, most: int, *, random: np.random.Generator) -> TrainingRows:
    """Return rows with at most so many of each person, chosen at random."""
    order = random.permutation(len(rows.labels))
    labels = rows.labels.numpy()[order]
    by_person = np.argsort(labels, kind="stable")
    first = np.searchsorted(labels[by_person], labels[by_person])
    kept = np.sort(order[by_person[np.arange(len(labels)) - first < most]])
    return rows.select(torch.from_numpy(kept))


def across_cameras(split: Split, camids: np.ndarray, *, random: np.random.Generator) -> Split:
    """Return a split whose queries are the rows of one camera, its gallery those of the others."""
    rows = split.query | split.gallery
    cameras = np.unique(camids[rows])
    if len(cameras) < 2:
        return split
    query = rows & (camids == random.choice(cameras))
    return replace(split, query=query, gallery=rows & ~query)


def _as_embeddings(rows: Tensor, labelled: TrainingRows) -> Embeddings:
    return Embeddings(rows.numpy(), labelled.labels.numpy(), labelled.camids.numpy())
