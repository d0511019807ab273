"""The closed form fitted on training rows: their means, and the whitening of their identities."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..neighbours.checked import unit_rows
from .centring import Centring, Means, fit_means
from .closed_form import ClosedForm, ClosedFormSettings
from .domain_shift import DomainShift
from .edge_gate import EdgeGate
from .whitening import Metric, Scatter, Whitening, averaged_metric, fit_whitening


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Unit training rows [N, d] float32, the numbers of their identities [N], and cameras [N]."""

    rows: Tensor
    labels: Tensor
    camids: Tensor

    @staticmethod
    def of(features: np.ndarray, pids: np.ndarray, camids: np.ndarray) -> "TrainingRows":
        """Take embeddings and labels as they come."""
        labels = np.unique(pids, return_inverse=True)[1]
        rows = unit_rows(features, "training embeddings")
        return TrainingRows(*map(torch.from_numpy, (rows, labels, camids)))

    def select(self, mask: Tensor) -> "TrainingRows":
        """Return the rows given by a mask or an index, with the labels that they have here."""
        return TrainingRows(self.rows[mask], self.labels[mask], self.camids[mask])

    def joined(self, other: "TrainingRows") -> "TrainingRows":
        """Return these rows and those of another selection of the same set."""
        return TrainingRows(
            torch.cat([self.rows, other.rows]),
            torch.cat([self.labels, other.labels]),
            torch.cat([self.camids, other.camids]),
        )

    @cached_property
    def means(self) -> Means:
        """The mean of the rows, and of each camera's."""
        return fit_means(self.rows, self.camids)

    def scatter(self, centring: Centring, *, width: int | None = None) -> Scatter:
        """Measure the rows less their camera's mean, or else less the mean of all."""
        by_camera = centring == "camera"
        means = self.means if by_camera else fit_means(self.rows, self.camids, centring="global")
        labels = self.labels.unique(return_inverse=True)[1]
        return Scatter.of(self.rows - means.of(self.camids), labels, width=width)


def fit_shift(train: TrainingRows) -> DomainShift:
    """Return what tells sets that do not look like these training rows."""
    means = train.means
    shift = DomainShift(dim=train.rows.shape[1], cameras=len(means.cameras))
    shift.fit(train.rows, train.labels, camids=train.camids, means=means)
    return shift.eval()


def fit_metric(scatter: Scatter, settings: ClosedFormSettings) -> Metric | Whitening | None:
    """Return the metric that the settings ask for; None where identities do not vary within."""
    if settings.averaged:
        return averaged_metric(scatter, settings.averaged)
    return fit_whitening(scatter, shrinkage=settings.shrinkage, between=settings.between)


def fit_closed_form(
    train: TrainingRows, settings: ClosedFormSettings, *, gate: EdgeGate | None = None
) -> ClosedForm:
    """Return the closed form with these settings, fitted on training rows; a gate is trained."""
    means, dim = train.means, train.rows.shape[1]
    closed_form = ClosedForm(dim=dim, cameras=len(means.cameras), **settings.as_table())
    closed_form.mean.copy_(means.centre)
    closed_form.cameras.copy_(means.cameras)
    closed_form.camera_means.copy_(means.means)
    if settings.whitens:
        metric = fit_metric(train.scatter(settings.centre), settings)
        if metric is not None:
            closed_form.metric.copy_(metric.apply(torch.eye(dim, dtype=torch.float64)))
    closed_form.gate = gate
    return closed_form.eval()
