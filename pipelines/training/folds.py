"""Held-out identities as small test sets, on which any closed form is scored in milliseconds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..refiners.closed_form import ClosedFormSettings
from ..refiners.metric import Frame, TrainingRows
from ..seeding import numpy_generator

LARGEST = 600  # rows held out in a fold: similarities are held whole here
PLAN = ((2, 2), (4, 1))  # (parts, repetitions): halves twice, quarters once


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows [N, d] with labels [N] and cameras [N], -1 where unknown."""

    rows: Tensor
    labels: Tensor
    camids: Tensor

    def select(self, mask: Tensor) -> "Rows":
        """Return the rows given by a mask or an index."""
        return Rows(self.rows[mask], self.labels[mask], self.camids[mask])


@dataclass(eq=False)
class Fold:
    """Identities to fit on, and others split into queries and a gallery."""

    fit: TrainingRows
    query: Rows
    gallery: Rows
    width: int  # d of the embeddings; rows may stand in the coordinates of their own span
    frames: dict[str, Frame] = field(default_factory=dict)
    _rotated: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _standard: "Recent" = field(default_factory=lambda: Recent(8))
    _similar: "Recent" = field(default_factory=lambda: Recent(1))
    _read: "Recent" = field(default_factory=lambda: Recent(4))
    _scores: dict[ClosedFormSettings, float] = field(default_factory=dict)

    def mean_ap(self, settings: ClosedFormSettings) -> float:
        """Return the queries' mAP with a closed form fitted on the other identities."""
        if settings not in self._scores:
            query, gallery = self.refined(settings)
            self._scores[settings] = mean_average_precision(
                query @ gallery.T, self.query, self.gallery
            )
        return self._scores[settings]

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
        rows = torch.cat([self.query.rows, self.gallery.rows])
        labels = torch.cat([self.query.labels, self.gallery.labels]).unique(return_inverse=True)[1]
        counts = labels.bincount()[:, None]
        means = rows.new_zeros(len(counts), rows.shape[1]).index_add_(0, labels, rows) / counts
        spread = functional.normalize(means[labels] + factor * (rows - means[labels]))
        query, gallery = spread.split([len(self.query.rows), len(self.gallery.rows)])
        return Fold(
            self.fit,
            replace(self.query, rows=query),
            replace(self.gallery, rows=gallery),
            self.width,
            self.frames,
        )

    def _standardise(self, settings: ClosedFormSettings) -> tuple[Tensor, Tensor]:
        parts = [self._centred(part, settings) for part in (self.query, self.gallery)]
        if settings.shrinkage < 1 or settings.between:
            by_camera = settings.centre == "camera"
            key = "camera" if by_camera else "global"
            if key not in self.frames:
                self.frames[key] = Frame.of(self.fit, by_camera=by_camera, width=self.width)
            frame = self.frames[key]
            if settings.centre not in self._rotated:
                turned = [(part.double() @ frame.basis).float() for part in parts]
                self._rotated[settings.centre] = (turned[0], turned[1])
            parts = [frame.apply(part, settings) for part in self._rotated[settings.centre]]
        query, gallery = (functional.normalize(part) for part in parts)
        return query, gallery

    def _centred(self, part: Rows, settings: ClosedFormSettings) -> Tensor:
        if settings.centre == "none":
            return part.rows
        means = self.gallery.rows.mean(dim=0).expand_as(part.rows)
        if settings.centre == "camera":
            means = means.clone()
            for camera in part.camids.unique().tolist():
                here = self.gallery.rows[self.gallery.camids == camera]
                if camera >= 0 and len(here):
                    means[part.camids == camera] = here.mean(dim=0)
                elif camera >= 0 and (self.fit.cameras == camera).any():
                    place = (self.fit.cameras == camera).nonzero()[0]
                    means[part.camids == camera] = self.fit.camera_means[place].float()
        return part.rows - means

    def _layer(self, settings: ClosedFormSettings) -> tuple[Tensor, Tensor]:
        """Let gallery and queries read their mutual neighbours, on dense similarities."""
        if settings.layers == 1:
            query, gallery = self.standardised(settings)
            within, across = self._similar.get(
                _metric_of(settings), lambda: (gallery @ gallery.T, query @ gallery.T)
            )
        else:
            query, gallery = self.refined(replace(settings, layers=settings.layers - 1))
            within, across = gallery @ gallery.T, query @ gallery.T
        cameras, asking = self.gallery.camids, self.query.camids
        if not settings.per_camera:
            cameras, asking = torch.zeros_like(cameras), torch.zeros_like(asking)
        edges, query_edges = mutual_edges(within, across, cameras, asking, settings.neighbours)
        weights, query_weights = edges.float(), query_edges.float()
        if settings.sharpness:
            weights = weights * torch.exp(settings.sharpness * (within - 1))
            query_weights = query_weights * torch.exp(settings.sharpness * (across - 1))
        return (
            functional.normalize(query + query_weights @ gallery),
            functional.normalize(gallery + weights @ gallery),
        )


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


def _metric_of(settings: ClosedFormSettings) -> tuple[str, float, float]:
    return settings.centre, settings.shrinkage, settings.between


def mutual_edges(
    within: Tensor, across: Tensor, cameras: Tensor, asking: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """Return which gallery rows are mutual neighbours, and which of them each query reads.

    within: [G, G] and across: [Q, G] similarities.   cameras: [G], asking: [Q], all 0 where the k
    nearest are taken of all cameras together.   returns: [G, G] and [Q, G] bool, the own left out.
    """
    own = torch.eye(len(within), dtype=torch.bool)
    within = within.masked_fill(own, 2.0)  # first in its own list
    listed, query_listed = torch.zeros_like(own), torch.zeros(across.shape, dtype=torch.bool)
    seen = cameras.unique()
    reach = within.new_full((len(within), len(seen)), -torch.inf)
    for number, camera in enumerate(seen.tolist()):
        members = (cameras == camera).nonzero()[:, 0]
        near, rank = within[:, members], min(k, len(members))
        least = near.topk(rank, dim=1).values[:, -1]
        listed[:, members] = near >= least[:, None]
        if rank == k:
            reach[:, number] = least
        top = torch.arange(rank)[None] < (k - (asking == camera).long())[:, None]  # [Q, rank]
        places = members[across[:, members].topk(rank, dim=1).indices]
        query_listed.scatter_(1, places, top)
    place = torch.searchsorted(seen, asking).clamp(max=len(seen) - 1)
    known = (seen[place] == asking)[:, None]
    own_reach = reach.gather(1, torch.searchsorted(seen, cameras)[:, None])[:, 0]
    wanted = torch.where(known, reach[:, place].T, own_reach)  # [Q, G]
    return listed & listed.T & ~own, query_listed & (across > wanted)


def mean_average_precision(similarity: Tensor, query: Rows, gallery: Rows) -> float:
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
    pids: np.ndarray, camids: np.ndarray, *, seed: int, plan: Sequence[tuple[int, int]] = PLAN
) -> list[Split]:
    """Return splits over identities: each has some held out, the others to fit on.

    plan: (parts, repetitions). Splits in which no query has a match are left out.
    """
    labels = np.unique(pids, return_inverse=True)[1]
    random = numpy_generator(seed, "identity folds")
    identities = int(labels.max()) + 1
    largest = max(2, LARGEST * identities // len(labels))  # identities of a fold
    found = []
    for parts, repetitions in plan:
        for _ in range(repetitions):
            for part in np.array_split(random.permutation(identities), min(parts, identities)):
                fit = ~np.isin(labels, part)
                apart = np.flatnonzero(np.isin(labels, part[:largest]))
                chosen = choose_queries(labels[apart], camids[apart], random)
                query, gallery = np.zeros(len(labels), bool), np.zeros(len(labels), bool)
                query[apart[chosen]], gallery[apart[~chosen]] = True, True
                if has_match(labels, camids, query, gallery) and len(np.unique(labels[fit])) > 1:
                    found.append(Split(fit, query, gallery))
    return found


def make_folds(
    train: TrainingRows, *, seed: int, plan: Sequence[tuple[int, int]] = PLAN
) -> list[Fold]:
    """Return the folds of `identity_splits`, their rows in the coordinates of their own span."""
    width = train.rows.shape[1]
    whole = Rows(in_own_span(train.rows), train.labels, train.camids)
    folds = []
    for split in identity_splits(train.labels.numpy(), train.camids.numpy(), seed=seed, plan=plan):
        fit, query, gallery = (
            whole.select(torch.from_numpy(mask)) for mask in (split.fit, split.query, split.gallery)
        )
        labels = fit.labels.unique(return_inverse=True)[1]
        folds.append(Fold(TrainingRows(fit.rows, labels, fit.camids), query, gallery, width))
    return folds


def choose_queries(
    labels: np.ndarray, camids: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Return a mask of queries: one of each identity and camera that has two rows or more.

    Of an identity that has no such camera, one row at random.
    """
    order = random.permutation(len(labels))
    keys = np.stack([labels, camids], axis=1)[order]
    _, first, counts = np.unique(keys, axis=0, return_index=True, return_counts=True)
    chosen = np.zeros(len(labels), bool)
    chosen[order[first[counts > 1]]] = True
    left = order[~np.isin(labels[order], labels[chosen])]
    chosen[left[np.unique(labels[left], return_index=True)[1]]] = True
    return chosen


def has_match(
    labels: np.ndarray, camids: np.ndarray, query: np.ndarray, gallery: np.ndarray
) -> bool:
    """Return whether any query has its person in the gallery, seen by another camera."""
    same = labels[query][:, None] == labels[gallery]
    cameras = camids[query][:, None]
    return bool((same & ~((cameras == camids[gallery]) & (cameras >= 0))).any())


def in_own_span(rows: Tensor) -> Tensor:
    """Return rows in an orthonormal basis of their span, where they are fewer than wide."""
    if len(rows) >= rows.shape[1]:
        return rows
    left, sizes, _ = torch.linalg.svd(rows, full_matrices=False)
    return left * sizes
