"""Does a set look like the training set? Its means and its covariance say so, without labels.

What is learned of training identities (centring, whitening, which neighbours show one person)
costs accuracy on data of another kind. Two distances tell such data: that of the camera means, and
that of the covariances of camera-centred rows. Each is measured in units of what two halves of the
training identities differ by: 1 is no difference.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ..errors import BadInput
from ..seeding import torch_generator
from .centring import Means, fit_means

Assume = Literal["auto", "same", "foreign"]
LIMIT = 2.2  # a set beyond it is foreign; benchmarks/ACCURACY.md says how it was chosen
HALVES = 4  # divisions of the training identities into halves
FEWEST = 8  # rows that are worth comparing
MOST = 8192  # rows of a set that are looked at
SHRINKAGE = 0.1  # of covariances towards a sphere: few rows leave directions without variance
SIZES = (32, 128, 512, 2048)  # rows of the sets whose covariances are compared


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
            return f"gallery like the training set: domain shift {self.shift:.1f} of {LIMIT:g}"
        return (
            f"domain shift {self.shift:.1f}, above {LIMIT:g}: these embeddings are not like the "
            "training set's, so they are left as they are. --assume same refines them all the "
            "same; --refine camera needs no training"
        )


class DomainShift(nn.Module):
    """What two halves of the training identities differ by.

    covariance: [d, d], of training rows less their camera's mean.
    means:      [C + 1, d], of each training camera and of all rows.   rows: [C + 1], of each.
    steps:      [C + 1], distance of two halves' means over √(1/rows + 1/rows).
    sizes:      [4], numbers of rows; 0: not measured.   divergences: [4], of the covariance of so
                many rows of one half from that of the other half.
    """

    covariance: Tensor
    means: Tensor
    rows: Tensor
    steps: Tensor
    sizes: Tensor
    divergences: Tensor

    def __init__(self, *, dim: int, cameras: int) -> None:
        super().__init__()
        self.register_buffer("covariance", torch.zeros(dim, dim))
        self.register_buffer("means", torch.zeros(cameras + 1, dim))
        for name in ("rows", "steps"):
            self.register_buffer(name, torch.zeros(cameras + 1))
        for name in ("sizes", "divergences"):
            self.register_buffer(name, torch.zeros(len(SIZES)))

    @torch.no_grad()
    def fit(self, rows: Tensor, labels: Tensor, *, camids: Tensor, means: Means) -> None:
        """Measure halves of training rows [N, d], of identities [N] from 0 and cameras [N]."""
        generator = torch_generator(0, "halves of the training identities")
        centred, persons = rows - means.of(camids), int(labels.max()) + 1
        halves = [
            (torch.randperm(persons, generator=generator) < persons // 2)[labels]
            for _ in range(HALVES)
        ]
        groups = [camids == camera for camera in means.cameras.tolist()]
        groups.append(torch.ones_like(camids, dtype=torch.bool))
        steps = [[_step(rows[group & h], rows[group & ~h]) for h in halves] for group in groups]
        self.covariance.copy_(centred.T @ centred / len(rows))
        self.means.copy_(torch.cat([means.means, means.centre[None]]))
        self.rows.copy_(torch.stack([group.sum() for group in groups]))
        self.steps.copy_(torch.tensor(steps).nanmean(dim=1).nan_to_num())
        most = min(int(part.sum()) for half in halves for part in (half, ~half))
        sizes = sorted({min(size, most) for size in SIZES} if most >= FEWEST else ())
        spreads = [_spread(centred[half]) for half in halves]
        for place, size in enumerate(sizes):
            others = [_spread(_some(centred[~half], size, generator=generator)) for half in halves]
            found = [_divergence(*pair) for pair in zip(spreads, others, strict=True)]
            self.sizes[place], self.divergences[place] = size, sum(found) / len(found)

    @torch.no_grad()
    def of(self, rows: Tensor, camids: Tensor) -> float:
        """Return how far unit rows [N, d] with cameras [N] are from training: about 1 in domain.

        The covariances' divergence times the square root of the means' distance; 1 where rows or
        training identities are too few to tell.
        """
        sizes = self.sizes[self.sizes > 0]
        if len(rows) < FEWEST or not len(sizes) or not (self.steps > 0).any():
            return 1.0
        generator = torch_generator(0, "rows of a set")
        chosen = torch.randperm(len(rows), generator=generator)[:MOST].to(rows.device)
        rows, camids, covariance = rows[chosen], camids[chosen], self.covariance.double()
        if (camids < 0).any():  # then none is told apart, in training neither
            camids, covariance = torch.full_like(camids, -1), covariance + self._between_cameras()
        means = fit_means(rows, camids, centring="camera")
        centred = rows - means.of(camids)
        some = _some(centred, int(sizes.max()), generator=generator)
        expected = _between(sizes, self.divergences[: len(sizes)], at=len(some))
        divergence = _divergence(_spread_of(covariance), _spread(some)) / expected
        return max(divergence, 0.0) * self._mean_distance(rows, camids, means=means) ** 0.5

    def _between_cameras(self) -> Tensor:
        """Return the covariance [d, d] of the training cameras' means, each by its rows."""
        apart, shares = (self.means[:-1] - self.means[-1]).double(), self.rows[:-1].double()
        return (apart * (shares / shares.sum().clip(min=1))[:, None]).T @ apart

    def _mean_distance(self, rows: Tensor, camids: Tensor, *, means: Means) -> float:
        """Return the distances of a set's camera means from the nearest of training, by rows."""
        cameras, counts = camids.unique(return_counts=True)
        known, total = self.steps > 0, 0.0
        for camera, count in zip(cameras.tolist(), counts.tolist(), strict=True):
            mean = (
                means.of(camids.new_tensor([camera]))
                if camera >= 0
                else rows[camids < 0].double().mean(0)
            )
            apart = torch.linalg.vector_norm(self.means[known].double() - mean, dim=1)
            nearest = int(apart.argmin())
            step, seen = float(self.steps[known][nearest]), float(self.rows[known][nearest])
            unit = step * max(1 / count + 1 / seen, 4 / seen) ** 0.5  # 4: of one half and the other
            total += count / len(rows) * float(apart[nearest]) / unit
        return total


def _some(rows: Tensor, most: int, *, generator: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=generator)[:most].to(rows.device)]


def _step(one: Tensor, other: Tensor) -> float:
    """Return the distance of two sets' means over √(1/rows + 1/rows); NaN where one is empty."""
    apart = torch.linalg.vector_norm(one.double().mean(0) - other.double().mean(0))
    return float(apart / (1 / max(1, len(one)) + 1 / max(1, len(other))) ** 0.5)


def _spread(centred: Tensor) -> Tensor:
    return _spread_of(centred.double().T @ centred.double() / len(centred))


def _spread_of(covariance: Tensor) -> Tensor:
    """Return a covariance [d, d] shrunk towards a sphere, its mean eigenvalue 1."""
    scaled = covariance / covariance.diagonal().mean().clip(min=1e-12)
    sphere = torch.eye(len(scaled), dtype=scaled.dtype, device=scaled.device)
    return (1 - SHRINKAGE) * scaled + SHRINKAGE * sphere


def _divergence(one: Tensor, other: Tensor) -> float:
    """Return tr(A⁻¹B) - ln det(A⁻¹B) - d of covariances A and B: Stein's loss, 0 where equal."""
    root = torch.linalg.cholesky(one)
    ratio = torch.cholesky_solve(other, root)
    volume = torch.logdet(other) - torch.logdet(one)
    return float(ratio.diagonal().sum() - volume - len(one))


def _between(sizes: Tensor, values: Tensor, *, at: int) -> float:
    """Return the value at a size, between two of those measured on logarithmic scales."""
    place = int((sizes < at).sum().clip(1, len(sizes) - 1)) if len(sizes) > 1 else 0
    if not place or at <= float(sizes[0]):
        return float(values[0])
    low, high = (float(sizes[place - 1 : place + 1][n].log()) for n in (0, 1))
    share = min(1.0, (torch.tensor(float(at)).log().item() - low) / (high - low))
    return float(torch.lerp(values[place - 1].log(), values[place].log(), share).exp())
