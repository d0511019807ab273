"""The prior's metric, in closed form: whitening by the within-identity covariance, and shaping."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..models.prior import Prior, PriorSettings

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


def metric(
    scatter: Scatter, *, shrinkage: float, between: float, width: int | None = None
) -> Tensor:
    """Return the matrix that multiplies centred rows from the right, [d, d] float64.

    shrinkage: ((1 - s)·W + s·tr(W)/d·I)^(-1/2), W being the within-identity covariance.
    between:   then each direction is scaled by √((b + c·b̄) / (b + c·b̄ + w)): b is the variance
               of identities along it, c this number, w the variance left within: directions in
               which identities do not differ count less, as in probabilistic discriminants.
    width:     the d that variances are averaged over, where rows stand in fewer coordinates.
    """
    found = torch.eye(scatter.persons.shape[1], dtype=torch.float64)
    width = width or len(found)
    level = scatter.variance.sum() / width
    if level <= 0:
        return found
    floor = (shrinkage * level).rsqrt()
    gains = ((1 - shrinkage) * scatter.variance + shrinkage * level).rsqrt()
    found = floor * found + (scatter.directions * (gains - floor)) @ scatter.directions.T
    if not between:
        return found
    spread, shapes = torch.linalg.svd(scatter.persons @ found, full_matrices=False)[1:]
    noise = (scatter.variance * gains**2).sum() / width
    differ = (spread**2 / len(scatter.persons) - noise * scatter.per_person).clamp(min=0)
    spare = between * differ.sum() / width
    scale = ((differ + spare) / (differ + spare + noise)).sqrt()
    rest = (spare / (spare + noise)).sqrt()
    return rest * found + ((found @ shapes.T) * (scale - rest)) @ shapes


def fit_prior(train: TrainingRows, settings: PriorSettings) -> Prior:
    """Return the prior with these settings, its means and metric those of the training rows."""
    prior = Prior(dim=train.rows.shape[1], cameras=len(train.cameras), **settings.as_table())
    prior.mean.copy_(train.mean)
    prior.cameras.copy_(train.cameras)
    prior.camera_means.copy_(train.camera_means)
    if settings.shrinkage < 1 or settings.between:
        rows = train.centred(by_camera=settings.centre == "camera")
        found = metric(
            Scatter.of(rows, train.labels), shrinkage=settings.shrinkage, between=settings.between
        )
        prior.metric.copy_(found)
    return prior.eval()
