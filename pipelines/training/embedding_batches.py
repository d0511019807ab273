"""Sample the embeddings of each training step's batch, none twice."""

import torch
from torch import Tensor
from torch.nn import functional

from ..seeding import torch_generator


def identity_batch(
    labels: Tensor, *, batch: int, instances: int, generator: torch.Generator
) -> Tensor:
    """Return rows of random identities, up to `instances` of each, `batch` in all.

    labels: [N] int64.   returns: at most `batch` different rows, an identity's side by side. The
    last identity may be cut, and where N is small all rows that the identities give are taken.
    """
    shuffled = torch.randperm(len(labels), generator=generator)
    order = shuffled[torch.argsort(labels[shuffled], stable=True)]  # by identity, random within
    sorted_labels = labels[order]
    _, identity, counts = sorted_labels.unique_consecutive(return_inverse=True, return_counts=True)
    place = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[identity]
    order, identity = order[place < instances], identity[place < instances]
    turn = torch.randperm(len(counts), generator=generator)[identity]  # identities' random order
    return order[torch.argsort(turn, stable=True)][:batch]


def neighbourhood_batch(features: Tensor, *, batch: int, generator: torch.Generator) -> Tensor:
    """Return a random row and those nearest to it, as the released code draws its batches.

    features: [N, d], L2-normalised.   returns: min(batch, N) different rows, nearest first.
    """
    centre = int(torch.randint(len(features), (), generator=generator))
    return (features @ features[centre]).topk(min(batch, len(features))).indices


class Batches:
    """The batches of a training: the same rows for the same seed and step, however it was resumed.

    features: [N, d] on the training's device.   labels: [N] int64, there too.
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        *,
        sampler: str,
        batch: int,
        instances: int,
        seed: int,
    ) -> None:
        self.features, self.labels = functional.normalize(features), labels
        self.labels_to_draw = labels.cpu()  # rows are drawn there: no step waits for the device
        self.sampler, self.batch, self.instances, self.seed = sampler, batch, instances, seed

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Return step `step`'s features [B, d] and labels [B]."""
        generator = torch_generator(self.seed, "batch", step)
        if self.sampler == "identity":
            rows = identity_batch(
                self.labels_to_draw,
                batch=self.batch,
                instances=self.instances,
                generator=generator,
            )
        else:
            rows = neighbourhood_batch(self.features, batch=self.batch, generator=generator)
        rows = rows.to(self.features.device)
        return self.features[rows], self.labels[rows]
