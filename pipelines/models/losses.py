"""The three losses of training: identity, batch-hard triplet, and center."""

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALLEST_SQUARE = 1e-12  # keeps the root's gradient finite for equal embeddings
BLOCK_DISTANCES = 1 << 21  # distances held at once


def identity_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy with label smoothing (Szegedy et al., CVPR 2016).

    logits: [N, C].   labels: [N] int64 in 0 … C-1.   returns: a scalar.
    """
    return functional.cross_entropy(logits, labels, label_smoothing=smoothing)


def triplet_loss(
    features: Tensor, labels: Tensor, margin: float | None = 0.3, *, normalised: bool = False
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

    Distances are compared in blocks of rows: a batch of any size fits in memory.
    """
    squares = features.square().sum(dim=1)
    farthest, nearest = [], []
    block = max(1, BLOCK_DISTANCES // max(1, len(features)))
    for part in torch.arange(len(features), device=features.device).split(block):
        # [block, N]; a row's own square is the same for all it is compared with, and left out
        apart = torch.addmm(squares, features[part], features.T, alpha=-2)
        same = labels[part, None] == labels
        farthest.append(apart.masked_fill(~same, -torch.inf).argmax(dim=1))
        nearest.append(apart.masked_fill_(same, torch.inf).argmin(dim=1))
    return torch.cat(farthest), torch.cat(nearest)


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
