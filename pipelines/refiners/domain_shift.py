"""Does a set look like the training set? Its means and its covariance say so, without labels.

What is learned of training identities (centring, whitening, which neighbours show one person)
costs accuracy on data of another kind. Two figures tell such data: how much a set varies along
directions in which training rows vary little, and how far its camera means are from training's.
Both are means over rows, so that few persons with many images each do not change what is expected.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ..errors import BadInput
from ..seeding import torch_generator
from .centring import Means, fit_means

Assume = Literal["auto", "same", "foreign"]
LIMIT = 1.9  # a set beyond it is foreign; benchmarks/ACCURACY.md says how it was chosen
HALVES = 4  # divisions of the training identities into halves
FEWEST = 8  # rows that are worth comparing
MOST = 8192  # rows of a set that are looked at
SHRINKAGE = 0.1  # of covariances towards a sphere: few rows leave directions without variance


ASSUMPTIONS: tuple[Assume, ...] = get_args(Assume)


@dataclass(frozen=True)
class Domain:
    """Whether a set looks like the training set: its shift, and what is assumed whatever that is.

    shift: what `DomainShift.of` found.
    """

    shift: float
    assume: Assume = "auto"

    def __post_init__(self) -> None:
        if self.assume not in ASSUMPTIONS:
            raise BadInput(f"assume {self.assume!r} is none of {', '.join(ASSUMPTIONS)}")

    @property
    def foreign(self) -> bool:
        """Whether nothing that was learned of the training set is used."""
        return self.assume == "foreign" or (self.assume == "auto" and self.shift > LIMIT)

    @property
    def short(self) -> str:
        """A few words, for a table."""
        word = "foreign" if self.foreign else "like training"
        return f"{word} ({self.shift:.1f})" if self.assume == "auto" else f"{word} (assumed)"

    def as_table(self) -> dict[str, Any]:
        """Return a JSON-able table."""
        return {**asdict(self), "limit": LIMIT, "foreign": self.foreign, "words": self.short}

    def __str__(self) -> str:
        if self.assume != "auto":
            return f"domain shift {self.shift:.1f}; assumed {self.assume} (--assume)"
        if not self.foreign:
            return (
                f"the gallery looks like the training set (domain shift {self.shift:.1f}, limit "
                f"{LIMIT:g})"
            )
        return (
            f"domain shift {self.shift:.1f}, above {LIMIT:g}: these embeddings do not look "
            "like the training set's, so they stay as they are. --assume same refines "
            "them anyway; --all shows what needs no training"
        )


class DomainShift(nn.Module):
    """The covariance of training rows, their means, and what their identities vary by.

    covariance: [d, d], of training rows less their camera's mean.
    means:      [C + 1, d], of each training camera and of all rows.   rows: [C + 1], of each.
    expected:   `_variation` of one half of the identities in the covariance of the other half,
                a mean over divisions; 0: not measured.
    """

    covariance: Tensor
    means: Tensor
    rows: Tensor
    expected: Tensor

    def __init__(self, *, dim: int, cameras: int) -> None:
        super().__init__()
        self.register_buffer("covariance", torch.zeros(dim, dim))
        self.register_buffer("means", torch.zeros(cameras + 1, dim))
        self.register_buffer("rows", torch.zeros(cameras + 1))
        self.register_buffer("expected", torch.zeros(()))

    @torch.no_grad()
    def fit(self, rows: Tensor, labels: Tensor, *, camids: Tensor, means: Means) -> None:
        """Measure training rows [N, d], of identities [N] from 0 and cameras [N]."""
        generator = torch_generator(0, "halves of the training identities")
        centred, persons = rows - means.of(camids), int(labels.max()) + 1
        self.covariance.copy_(_covariance(centred))
        self.means.copy_(torch.cat([means.means, means.centre[None]]))
        groups = [camids == camera for camera in means.cameras.tolist()]
        self.rows.copy_(torch.tensor([*(int(group.sum()) for group in groups), len(rows)]))
        found = []
        for _ in range(HALVES):
            half = (torch.randperm(persons, generator=generator) < persons // 2)[labels]
            if min(int(half.sum()), int((~half).sum())) < FEWEST:
                return
            one, other = _covariance(centred[half]), _covariance(centred[~half])
            found += [_variation(one, _root(other)), _variation(other, _root(one))]
        self.expected.fill_(sum(found) / len(found))

    @torch.no_grad()
    def of(self, rows: Tensor, camids: Tensor) -> float:
        """Return how far unit rows [N, d] with cameras [N] are from training: about 1 in domain.

        The set's variation over the expected one, times 1 + 2 of the means' distance; 1 where rows
        or training identities are too few to tell.
        """
        if len(rows) < FEWEST or not self.expected > 0:
            return 1.0
        chosen = torch.randperm(len(rows), generator=torch_generator(0, "rows of a set"))[:MOST]
        rows, camids = rows[chosen.to(rows.device)], camids[chosen.to(rows.device)]
        covariance = self.covariance.double()
        if (camids < 0).any():  # then none is told apart, in training neither
            camids, covariance = torch.full_like(camids, -1), covariance + self._between_cameras()
        means, root = fit_means(rows, camids, centring="camera"), _root(covariance)
        variation = _variation(_covariance(rows - means.of(camids)), root)
        distance = self._mean_distance(rows, camids, root=root, unit=covariance.diagonal().mean())
        return variation / float(self.expected) * (1 + 2 * distance)

    def _between_cameras(self) -> Tensor:
        """Return the covariance [d, d] of the training cameras' means, each by its rows."""
        apart, shares = (self.means[:-1] - self.means[-1]).double(), self.rows[:-1].double()
        return (apart * (shares / shares.sum().clip(min=1))[:, None]).T @ apart

    def _mean_distance(self, rows: Tensor, camids: Tensor, *, root: Tensor, unit: Tensor) -> float:
        """Return the squared distances of a set's camera means from training's nearest, by rows.

        In units of what one training row deviates from its mean: 1 is as far as that.
        """
        total = 0.0
        for camera in camids.unique().tolist():
            mean = rows[camids == camera].double().mean(0)
            apart = (self.means.double() - mean).T
            scaled = torch.linalg.solve_triangular(root, apart, upper=False)
            nearest = float(scaled.square().sum(0).min() / unit) / len(root)
            total += int((camids == camera).sum()) / len(rows) * nearest
        return total


def _covariance(centred: Tensor) -> Tensor:
    return centred.double().T @ centred.double() / len(centred)


def _shrunk(covariance: Tensor) -> Tensor:
    """Return a covariance [d, d] shrunk towards a sphere, its mean eigenvalue 1."""
    scaled = covariance / covariance.diagonal().mean().clip(min=1e-12)
    sphere = torch.eye(len(scaled), dtype=scaled.dtype, device=scaled.device)
    return (1 - SHRINKAGE) * scaled + SHRINKAGE * sphere


def _root(covariance: Tensor) -> Tensor:
    """Return the Cholesky factor [d, d] of a shrunk covariance."""
    return torch.linalg.cholesky(_shrunk(covariance))


def _variation(covariance: Tensor, root: Tensor) -> float:
    """Return tr(A⁻¹B) / d of covariances A, of which the root is given, and B: 1 where equal.

    It is linear in B: whoever is sampled, the expectation is the same.
    """
    return float(torch.cholesky_solve(_shrunk(covariance), root).diagonal().mean())
