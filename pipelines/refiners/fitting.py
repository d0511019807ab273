"""The closed form fitted on training rows: their means, and the whitening of their identities."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ..neighbours.checked import unit_rows
from .centring import Centring, Means, fit_means
from .closed_form import ClosedForm, ClosedFormSettings
from .whitening import Scatter, fit_whitening


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Unit training rows [N, d] float32, their identities numbered from 0 [N], and cameras [N]."""

    rows: np.ndarray
    labels: np.ndarray
    camids: np.ndarray

    @staticmethod
    def of(features: np.ndarray, pids: np.ndarray, camids: np.ndarray) -> "TrainingRows":
        """Take embeddings and labels as they come."""
        labels = np.unique(pids, return_inverse=True)[1]
        return TrainingRows(unit_rows(features, "training embeddings"), labels, camids)

    def select(self, mask: np.ndarray) -> "TrainingRows":
        """Return the rows given by a mask or an index, their identities numbered anew."""
        labels = np.unique(self.labels[mask], return_inverse=True)[1]
        return TrainingRows(self.rows[mask], labels, self.camids[mask])

    @cached_property
    def means(self) -> Means:
        """The mean of the rows, and of each camera's."""
        return fit_means(self.rows, self.camids)

    def scatter(self, centring: Centring, *, width: int | None = None) -> Scatter:
        """Measure the rows less their camera's mean, or else less the mean of all."""
        by_camera = centring == "camera"
        means = self.means if by_camera else fit_means(self.rows, self.camids, centring="global")
        return Scatter.of(self.rows - means.of(self.camids), self.labels, width=width)


def fit_closed_form(train: TrainingRows, settings: ClosedFormSettings) -> ClosedForm:
    """Return the closed form with these settings, fitted on training rows."""
    means, dim = train.means, train.rows.shape[1]
    closed_form = ClosedForm(dim=dim, cameras=len(means.cameras), **settings.as_table())
    closed_form.mean.copy_(torch.from_numpy(means.centre))
    closed_form.cameras.copy_(torch.from_numpy(means.cameras))
    closed_form.camera_means.copy_(torch.from_numpy(means.means))
    if settings.whitens:
        white = fit_whitening(
            train.scatter(settings.centre), shrinkage=settings.shrinkage, between=settings.between
        )
        if white is not None:
            closed_form.metric.copy_(torch.from_numpy(white.apply(np.eye(dim))))
    return closed_form.eval()
