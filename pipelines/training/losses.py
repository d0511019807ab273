"""The three losses of training: identity, batch-hard triplet, and center."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALLEST_SQUARE = 1e-12  # keeps the root's gradient finite for equal embeddings
BLOCK_DISTANCES = 1 << 23  # distances held at once: 32 MiB


def identity_loss(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy with label smoothing (Szegedy et al., CVPR 2016).

    logits: [N, C].   labels: [N] int64 in 0 … C-1.   returns: a scalar.
    """
    return functional.cross_entropy(logits, labels, label_smoothing=smoothing)


def triplet_loss(
    features: Tensor, labels: Tensor, *, margin: float | None = 0.3, normalised: bool = False
) -> Tensor:
    """Return the batch-hard triplet loss (Hermans et al., 2017).

    features: [N, d].   labels: [N] int64.   returns: a scalar.
    margin:     None takes the soft margin, log(1 + exp(positive - negative)).
    normalised: measure distances between L2-normalised rows.
    """
    positive, negative = hardest_distances(
        functional.normalize(features) if normalised else features, labels
    )
    if margin is None:
        return functional.softplus(positive - negative).mean()
    return functional.relu(positive - negative + margin).mean()


def hardest_distances(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's distance to its farthest positive and its nearest negative.

    features: [N, d].   labels: [N].   returns: two [N] of Euclidean distances; a row is its own
    positive when its identity stands alone, and a batch of one identity has infinite negatives.
    """
    features = features.float()
    farthest, nearest = _hardest_rows(features.detach(), labels)
    positive, negative = (
        (features - features[rows]).square().sum(dim=1).clamp(min=SMALLEST_SQUARE).sqrt()
        for rows in (farthest, nearest)
    )
    alone = labels[nearest] == labels  # nothing else there
    return positive, negative.masked_fill(alone, torch.inf)


def _hardest_rows(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's farthest positive and nearest negative, two [N] int64.

    Distances are made once for both of their rows, in blocks, so a batch of any size fits in
    memory; and in the order of the labels, where a block's positives stand together.
    """
    order = labels.argsort(stable=True)
    rows, ranked = features[order], labels[order]
    squares = rows.square().sum(dim=1)
    farthest, nearest = Extremes(len(rows), rows, sign=-1.0), Extremes(len(rows), rows, sign=1.0)
    for part, reach in _label_blocks(ranked):
        start, stop = part.start, part.stop
        apart = torch.addmm(squares[start:], rows[part], rows[start:].T, alpha=-2)
        apart += squares[part, None]  # [block, N - start] squared distances
        same = ranked[part, None] == ranked[start:reach]
        beside = apart[:, : reach - start]
        farthest.see(beside.masked_fill(~same, -torch.inf), start=start, stop=stop)
        beside.masked_fill_(same, torch.inf)
        nearest.see(apart, start=start, stop=stop)
    return farthest.of(order), nearest.of(order)


class Extremes:
    """Each row's least (sign 1) or largest (sign -1) distance so far, and whose it is."""

    def __init__(self, rows: int, like: Tensor, *, sign: float) -> None:
        self.sign = sign
        self.value = like.new_full((rows,), sign * torch.inf)
        self.index = torch.zeros(rows, dtype=torch.int64, device=like.device)

    def see(self, apart: Tensor, *, start: int, stop: int) -> None:
        """Take distances [b, c] of the rows from `start` to `stop` with those from `start` on."""
        extreme = torch.min if self.sign > 0 else torch.max
        self._take(start, extreme(apart, dim=1), first=start)
        if apart.shape[1] > stop - start:  # the others' side of the same distances
            self._take(stop, extreme(apart[:, stop - start :], dim=0), first=start)

    def _take(self, start: int, found: tuple[Tensor, Tensor], *, first: int) -> None:
        value, index = found
        part = slice(start, start + len(value))
        better = self.sign * value < self.sign * self.value[part]
        self.value[part] = torch.where(better, value, self.value[part])
        self.index[part] = torch.where(better, index + first, self.index[part])

    def of(self, order: Tensor) -> Tensor:
        """Return whose the distances are, [N], in the order that `order` was sorted from."""
        return torch.empty_like(order).index_copy(0, order, order[self.index])


def _label_blocks(ranked: Tensor) -> Iterator[tuple[slice, int]]:
    """Yield blocks of sorted labels [N], and the end of the last label that a block has."""
    rows, start = len(ranked), 0
    while start < rows:
        stop = min(start + max(1, BLOCK_DISTANCES // (rows - start)), rows)
        reach = rows
        if ranked.device.type == "cpu":  # elsewhere the end would have to wait for the device
            reach = int(torch.searchsorted(ranked, ranked[stop - 1], right=True))
        yield slice(start, stop), reach
        start = stop


class CenterLoss(nn.Module):
    """Mean squared distance to a learnt center of each class (Wen et al., ECCV 2016).

    The centers have an optimiser of their own; `unweighted_gradient` undoes the loss weight there.
    """

    centers: Tensor

    def __init__(self, classes: int, dim: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.randn(classes, dim, generator=generator))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """features: [N, d].   labels: [N] int64.   returns: a scalar."""
        own = self.centers[labels]  # [N, d]
        return (features.float() - own).square().sum(dim=1).mean()

    def unweighted_gradient(self, weight: float) -> None:
        """Divide the centers' gradient by the weight that the loss had, as the released code does.

        So the centers follow their classes at their own rate, however small the loss's weight.
        """
        if self.centers.grad is not None and weight > 0:
            self.centers.grad.mul_(1.0 / weight)
