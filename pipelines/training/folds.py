"""Held-out identities as small test sets, on which any closed form is scored in milliseconds."""

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..ranking.matches import Labels, Matches
from ..refiners.centring import fit_means
from ..refiners.closed_form import ClosedFormSettings
from ..refiners.fitting import TrainingRows, fit_metric
from ..refiners.mutual_neighbours import camera_graph, query_edges, read, read_gallery, sharpened
from ..refiners.whitening import Scatter
from ..seeding import numpy_generator

LARGEST = 600  # rows held out in a fold: similarities are held whole here
PLAN = ((2, 2), (4, 1))  # (parts, repetitions): halves twice, quarters once


@dataclass(eq=False)
class Fold:
    """Identities to fit on, and others split into queries and a gallery."""

    fit: TrainingRows
    query: TrainingRows
    gallery: TrainingRows
    width: int  # d of the embeddings; rows may stand in the coordinates of their own span
    scatters: dict[str, tuple[Tensor, Scatter]] = field(default_factory=dict)
    name: str = ""
    scores: MutableMapping[str, float] = field(default_factory=dict)  # by name and settings
    _turned: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _standard: "Recent" = field(default_factory=lambda: Recent(8))
    _similar: "Recent" = field(default_factory=lambda: Recent(1))
    _read: "Recent" = field(default_factory=lambda: Recent(4))

    def mean_ap(self, settings: ClosedFormSettings) -> float:
        """Return the queries' mAP with a closed form fitted on the other identities."""
        key = f"{self.name}: {settings}"
        if key not in self.scores:
            query, gallery = self.refined(settings)
            self.scores[key] = mean_average_precision(
                query @ gallery.T, self.query, gallery=self.gallery
            )
        return self.scores[key]

    def refined(self, settings: ClosedFormSettings) -> tuple[Tensor, Tensor]:
        """Return queries and gallery after the closed form, each query on its own."""
        if settings.neighbours == 1:
            return self.standardised(settings)
        return self._read.get(settings, lambda: self._layer(settings))

    def standardised(self, settings: ClosedFormSettings) -> tuple[Tensor, Tensor]:
        """Return queries and gallery centred, whitened and shaped, in rotated coordinates."""
        return self._standard.get(_metric_of(settings), lambda: self._standardise(settings))

    @property
    def images(self) -> float:
        """How many images of each person the gallery holds."""
        return len(self.gallery.labels) / len(self.gallery.labels.unique())

    def pair_similarities(self, settings: ClosedFormSettings) -> tuple[Tensor, Tensor]:
        """Return the similarities of pairs of held-out rows: of one person, and of two."""
        rows = torch.cat(self.standardised(settings))
        labels = torch.cat([self.query.labels, self.gallery.labels])
        places = torch.triu_indices(len(rows), len(rows), 1)
        similarity = (rows @ rows.T)[places[0], places[1]]
        same = labels[places[0]] == labels[places[1]]
        return similarity[same], similarity[~same]

    def inflated(self, factor: float) -> "Fold":
        """Return the fold with its held-out identities spread wider about their means."""
        query, gallery = spread_wider(self.query, self.gallery, factor=factor)
        told: dict[str, Any] = {"name": f"{self.name} spread {factor}", "scores": self.scores}
        return Fold(self.fit, query, gallery, self.width, self.scatters, **told)

    def _standardise(self, settings: ClosedFormSettings) -> tuple[Tensor, Tensor]:
        if not settings.whitens:
            query, gallery = self._centred(settings)
        else:
            basis, scatter = self._scatter(settings)
            if settings.centre not in self._turned:  # once, for every shrinkage that is tried
                turned = [(part @ basis).float() for part in self._centred(settings)]
                self._turned[settings.centre] = (turned[0], turned[1])
            query, gallery = self._turned[settings.centre]
            white = fit_metric(scatter, settings)
            if white is not None:
                query, gallery = white.apply(query), white.apply(gallery)
        return functional.normalize(query).float(), functional.normalize(gallery).float()

    def _centred(self, settings: ClosedFormSettings) -> tuple[Tensor, Tensor]:
        """Return queries and gallery less the gallery's means: [N, d] float64."""
        rows, camids = self.gallery.rows, self.gallery.camids
        means = fit_means(rows, camids, centring=settings.centre, training=self.fit.means)
        query = self.query.rows - means.of(self.query.camids)
        return query, rows - means.of(camids)

    def _scatter(self, settings: ClosedFormSettings) -> tuple[Tensor, Scatter]:
        key = "camera" if settings.centre == "camera" else "global"
        if key not in self.scatters:
            scatter = self.fit.scatter(settings.centre, width=self.width)
            self.scatters[key] = scatter.in_own_directions()
        return self.scatters[key]

    def _layer(self, settings: ClosedFormSettings) -> tuple[Tensor, Tensor]:
        """Let gallery and queries read their mutual neighbours once."""
        sharpness = settings.sharpness
        if settings.layers == 1:
            query, gallery = self.standardised(settings)
            within, across = self._similar.get(
                _metric_of(settings), lambda: similarities(query, gallery)
            )
        else:
            query, gallery = self.refined(replace(settings, layers=settings.layers - 1))
            within, across = similarities(query, gallery)
        graph = camera_graph(
            gallery,
            groups=settings.groups(self.gallery.camids),
            k=settings.neighbours,
            similarity=within,
        )
        listed = query_edges(query, self.query.camids, rows=gallery, graph=graph, similarity=across)
        weights = sharpened(query, gallery, listed=listed, sharpness=sharpness, similarity=across)
        return (
            read(query, gallery, lists=listed[0], weights=weights),
            read_gallery(gallery, graph, sharpness=sharpness, similarity=within),
        )


def spread_wider(
    query: TrainingRows, gallery: TrainingRows, *, factor: float
) -> tuple[TrainingRows, TrainingRows]:
    """Return both with each identity's rows `factor` times as far from their mean."""
    rows = torch.cat([query.rows, gallery.rows])
    labels = torch.cat([query.labels, gallery.labels]).unique(return_inverse=True)[1]
    counts = labels.bincount()[:, None]
    means = rows.new_zeros(len(counts), rows.shape[1]).index_add_(0, labels, rows) / counts
    spread = functional.normalize(means[labels] + factor * (rows - means[labels]))
    parts = spread.split([len(query.rows), len(gallery.rows)])
    return replace(query, rows=parts[0]), replace(gallery, rows=parts[1])


def similarities(query: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
    """Return those of gallery rows [G, G], each one's own above all others, and queries' [Q, G]."""
    return (gallery @ gallery.T).fill_diagonal_(2.0), query @ gallery.T


class Recent:
    """The last few of what was computed, by key."""

    def __init__(self, size: int) -> None:
        self.size, self._kept = size, dict[Any, tuple[Tensor, Tensor]]()

    def get(self, key: Any, make: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Return what is kept under a key, or make it."""
        if key not in self._kept:
            found = make()
            while len(self._kept) >= self.size:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = found
        return self._kept[key]


def _metric_of(settings: ClosedFormSettings) -> tuple[Any, ...]:
    return settings.centre, settings.shrinkage, settings.between, settings.averaged


def mean_average_precision(
    similarity: Tensor, query: TrainingRows, *, gallery: TrainingRows
) -> float:
    """Return the mAP of similarities [Q, G]; the query's person in its own camera is skipped."""
    same = query.labels[:, None] == gallery.labels
    skipped = same & (query.camids[:, None] == gallery.camids) & (query.camids[:, None] >= 0)
    order = similarity.masked_fill(skipped, -torch.inf).argsort(dim=1, descending=True, stable=True)
    good = (same & ~skipped).gather(1, order).float()
    found = good.sum(dim=1)
    precision = good.cumsum(dim=1) / torch.arange(1, good.shape[1] + 1)
    valid = found > 0
    return (
        float(((precision * good).sum(dim=1)[valid] / found[valid]).mean()) if valid.any() else 0.0
    )


@dataclass(frozen=True, eq=False)
class Split:
    """Masks [N] of a training split: rows to fit on, and queries and a gallery of other persons."""

    fit: np.ndarray
    query: np.ndarray
    gallery: np.ndarray


def identity_splits(
    pids: np.ndarray,
    camids: np.ndarray,
    *,
    seed: int,
    plan: Sequence[tuple[int, int]] = PLAN,
    most: int = LARGEST,
) -> list[Split]:
    """Return splits over identities: each has some held out, the others to fit on.

    plan: (parts, repetitions). Splits in which no query has a match are left out.
    most: rows held out, at about which identities beyond are left out.
    """
    labels = np.unique(pids, return_inverse=True)[1]
    random = numpy_generator(seed, "identity folds")
    identities = int(labels.max()) + 1
    largest = max(2, most * identities // len(labels))  # identities of a fold
    found = []
    for parts, repetitions in plan:
        for _ in range(repetitions):
            for part in np.array_split(random.permutation(identities), min(parts, identities)):
                fit = ~np.isin(labels, part)
                apart = np.flatnonzero(np.isin(labels, part[:largest]))
                chosen = choose_queries(labels[apart], camids[apart], random=random)
                query, gallery = np.zeros(len(labels), bool), np.zeros(len(labels), bool)
                query[apart[chosen]], gallery[apart[~chosen]] = True, True
                sides = [Labels(labels[side], camids[side]) for side in (query, gallery)]
                matched = Matches(*sides).any_valid()
                if matched and len(np.unique(labels[fit])) > 1:
                    found.append(Split(fit, query, gallery))
    return found


def make_folds(
    train: TrainingRows,
    *,
    seed: int,
    plan: Sequence[tuple[int, int]] = PLAN,
    scores: MutableMapping[str, float] | None = None,
) -> list[Fold]:
    """Return the folds of `identity_splits`, their rows in the coordinates of their own span.

    scores: those known already; they take in the new ones.
    """
    whole = TrainingRows(in_own_span(train.rows), train.labels, train.camids)
    folds = []
    told: dict[str, Any] = {"scores": {} if scores is None else scores}
    splits = identity_splits(train.labels.numpy(), train.camids.numpy(), seed=seed, plan=plan)
    for number, split in enumerate(splits):
        masks = map(torch.from_numpy, (split.fit, split.query, split.gallery))
        fit, query, gallery = (whole.select(mask) for mask in masks)
        width = train.rows.shape[1]
        folds.append(Fold(fit, query, gallery, width, name=f"fold {number}", **told))
    return folds


def choose_queries(
    labels: np.ndarray, camids: np.ndarray, *, random: np.random.Generator, least: int = 2
) -> np.ndarray:
    """Return a mask of queries: one of each identity and camera that has `least` rows or more.

    Of an identity that has no such camera, one row at random.
    """
    order = random.permutation(len(labels))
    keys = np.stack([labels, camids], axis=1)[order]
    _, first, counts = np.unique(keys, axis=0, return_index=True, return_counts=True)
    chosen = np.zeros(len(labels), bool)
    chosen[order[first[counts >= least]]] = True
    left = order[~np.isin(labels[order], labels[chosen])]
    chosen[left[np.unique(labels[left], return_index=True)[1]]] = True
    return chosen


def in_own_span(rows: Tensor) -> Tensor:
    """Return rows in an orthonormal basis of their span, where they are fewer than wide."""
    if len(rows) >= rows.shape[1]:
        return rows
    left, sizes, _ = torch.linalg.svd(rows, full_matrices=False)
    return left * sizes
