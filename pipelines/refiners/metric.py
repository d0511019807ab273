"""The closed form's metric: whitening by the within-identity covariance, and shaping."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .closed_form import ClosedForm, ClosedFormSettings

NEGLIGIBLE = 1e-7  # of the largest eigenvalue


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Unit training rows [N, d] float32, their identities numbered from 0 [N], and cameras [N]."""

    rows: Tensor
    labels: Tensor
    camids: Tensor

    @staticmethod
    def of(features: np.ndarray, pids: np.ndarray, camids: np.ndarray) -> "TrainingRows":
        """Take embeddings and labels as numpy arrays."""
        labels = np.unique(pids, return_inverse=True)[1]
        rows = functional.normalize(torch.from_numpy(features))
        return TrainingRows(rows, torch.from_numpy(labels), torch.from_numpy(camids))

    @cached_property
    def cameras(self) -> Tensor:
        """[C] int64: the cameras known."""
        return self.camids[self.camids >= 0].unique()

    @cached_property
    def mean(self) -> Tensor:
        """[d] float64: the mean row."""
        return self.rows.double().mean(dim=0)

    @cached_property
    def camera_means(self) -> Tensor:
        """[C, d] float64: each camera's mean row."""
        found = [self.rows[self.camids == camera].double().mean(dim=0) for camera in self.cameras]
        return torch.stack(found) if found else self.rows.new_zeros(0, self.rows.shape[1]).double()

    def centred(self, *, by_camera: bool) -> Tensor:
        """Return the rows less their mean, or less their camera's: [N, d] float64."""
        means = self.mean.expand(len(self.rows), -1)
        if by_camera and len(self.cameras):
            place = torch.searchsorted(self.cameras, self.camids).clamp(max=len(self.cameras) - 1)
            known = self.cameras[place] == self.camids
            means = torch.where(known[:, None], self.camera_means[place], means)
        return self.rows.double() - means


@dataclass(frozen=True, eq=False)
class Scatter:
    """How rows differ within identities and between them.

    variance: [r] float64, of the directions [d, r] in which identities vary within themselves.
    persons:  [P, d] float64, each identity's mean row.   per_person: the mean of 1/(its rows).
    """

    variance: Tensor
    directions: Tensor
    persons: Tensor
    per_person: float

    @staticmethod
    def of(rows: Tensor, labels: Tensor) -> "Scatter":
        """Measure centred rows [N, d]; through [N, N] where there are fewer rows than numbers."""
        counts = labels.bincount().double()
        persons = rows.new_zeros(len(counts), rows.shape[1]).index_add_(0, labels, rows)
        persons /= counts[:, None]
        rest = rows - persons[labels]
        freedom = max(len(rows) - len(counts), 1)
        if len(rows) < rows.shape[1]:
            squares, left = torch.linalg.eigh(rest @ rest.T)
            kept = squares > NEGLIGIBLE * squares[-1].clamp(min=1e-30)
            squares, left = squares[kept], left[:, kept]
            directions = rest.T @ left / squares.sqrt()
        else:
            squares, directions = torch.linalg.eigh(rest.T @ rest)
        per_person = float((1 / counts).mean())
        return Scatter(squares.clamp(min=0) / freedom, directions, persons, per_person)


@dataclass(frozen=True, eq=False)
class Whitening:
    """What each direction of a `Scatter` is multiplied by, and all that is at right angles to them.

    gains: [r] float64.   floor: of the rest.   noise: the variance left within, a mean over d.
    """

    gains: Tensor
    floor: float
    noise: float

    @staticmethod
    def of(scatter: Scatter, *, shrinkage: float, width: int) -> "Whitening | None":
        """Return ((1 - s)·W + s·tr(W)/d·I)^(-1/2) by its eigenvalues; None where W is nothing."""
        level = float(scatter.variance.sum()) / width
        if level <= 0:
            return None
        gains = ((1 - shrinkage) * scatter.variance + shrinkage * level).rsqrt()
        noise = float((scatter.variance * gains**2).sum()) / width
        return Whitening(gains, (shrinkage * level) ** -0.5, noise)


@dataclass(frozen=True, eq=False)
class Shaping:
    """Directions in which whitened identities differ: they keep more than the others.

    shapes: [p, d] float64, orthonormal.   differ: [p], the variance of identities along them.
    """

    shapes: Tensor
    differ: Tensor

    @staticmethod
    def of(persons: Tensor, *, noise: float, per_person: float) -> "Shaping":
        """Measure whitened means of identities [P, d]; what chance explains is taken off."""
        if len(persons) < persons.shape[1]:
            squares, left = torch.linalg.eigh(persons @ persons.T)
            kept = squares > NEGLIGIBLE * squares[-1].clamp(min=1e-30)
            squares, left = squares[kept], left[:, kept]
            shapes = (persons.T @ left / squares.sqrt()).T
        else:
            squares, right = torch.linalg.eigh(persons.T @ persons)
            shapes = right.T
        differ = (squares / len(persons) - noise * per_person).clamp(min=0)
        return Shaping(shapes, differ)

    def scales(self, between: float, *, noise: float, width: int) -> tuple[Tensor, float]:
        """Return what each shape is multiplied by, [p], and all the rest."""
        spare = between * float(self.differ.sum()) / width
        scale = ((self.differ + spare) / (self.differ + spare + noise)).sqrt()
        return scale, (spare / (spare + noise)) ** 0.5


def metric(scatter: Scatter, *, shrinkage: float, between: float) -> Tensor:
    """Return the matrix that multiplies centred rows from the right, [d, d] float64.

    shrinkage: ((1 - s)·W + s·tr(W)/d·I)^(-1/2), W being the within-identity covariance.
    between:   then each direction is scaled by √((b + c·b̄) / (b + c·b̄ + w)): b is the variance
               of identities along it, c this number, w the variance left within: directions in
               which identities do not differ count less, as in probabilistic discriminants.
    """
    found = torch.eye(scatter.persons.shape[1], dtype=torch.float64)
    width = len(found)
    white = Whitening.of(scatter, shrinkage=shrinkage, width=width)
    if white is None:
        return found
    spokes = scatter.directions * (white.gains - white.floor)
    found = white.floor * found + spokes @ scatter.directions.T
    if not between:
        return found
    shaping = Shaping.of(scatter.persons @ found, noise=white.noise, per_person=scatter.per_person)
    scale, rest = shaping.scales(between, noise=white.noise, width=width)
    return rest * found + ((found @ shaping.shapes.T) * (scale - rest)) @ shaping.shapes


@dataclass(eq=False)
class Frame:
    """A fold's metrics in coordinates that make them cheap: the directions of its scatter first.

    basis: [d, d] float64, orthonormal: rows are turned by it once, then a metric is a product
    with numbers and, where it is shaped, with a few directions. Angles are those of `metric`.
    """

    scatter: Scatter
    basis: Tensor
    width: int
    _persons: Tensor
    _shapings: dict[float, Shaping] = field(default_factory=dict)

    @staticmethod
    def of(fit: TrainingRows, *, by_camera: bool, width: int) -> "Frame":
        """Measure the rows that a fold is fitted on."""
        scatter = Scatter.of(fit.centred(by_camera=by_camera), fit.labels)
        basis = torch.linalg.qr(scatter.directions, mode="complete")[0]
        return Frame(scatter, basis, width, scatter.persons @ basis)

    def apply(self, rows: Tensor, settings: ClosedFormSettings) -> Tensor:
        """Whiten and shape turned rows [N, d] float32."""
        white = Whitening.of(self.scatter, shrinkage=settings.shrinkage, width=self.width)
        if white is None:
            return rows
        gains = torch.full((len(self.basis),), white.floor, dtype=torch.float64)
        gains[: len(white.gains)] = white.gains
        found = rows * gains.float()
        if not settings.between:
            return found
        if settings.shrinkage not in self._shapings:
            self._shapings[settings.shrinkage] = Shaping.of(
                self._persons * gains, noise=white.noise, per_person=self.scatter.per_person
            )
        shaping = self._shapings[settings.shrinkage]
        scale, rest = shaping.scales(settings.between, noise=white.noise, width=self.width)
        shapes = shaping.shapes.float()
        return rest * found + ((found @ shapes.T) * (scale - rest).float()) @ shapes


def fit_closed_form(train: TrainingRows, settings: ClosedFormSettings) -> ClosedForm:
    """Return the closed form with these settings, fitted on training rows."""
    closed_form = ClosedForm(
        dim=train.rows.shape[1], cameras=len(train.cameras), **settings.as_table()
    )
    closed_form.mean.copy_(train.mean)
    closed_form.cameras.copy_(train.cameras)
    closed_form.camera_means.copy_(train.camera_means)
    if settings.shrinkage < 1 or settings.between:
        rows = train.centred(by_camera=settings.centre == "camera")
        found = metric(
            Scatter.of(rows, train.labels), shrinkage=settings.shrinkage, between=settings.between
        )
        closed_form.metric.copy_(found)
    return closed_form.eval()
