"""P × K identity batches: P people, K images of each (Hermans et al., 2017)."""

import numpy as np

from ..errors import BadInput


def require_identities(identities: int, *, batch: int, instances: int, where: str) -> None:
    """Check that batches of `batch` images, `instances` of each identity, can be drawn.

    Raises:
        BadInput: the batch is no multiple, or there are fewer identities than one batch needs.
    """
    if instances < 2 or batch % instances or batch < 2 * instances:
        raise BadInput(
            f"a batch of {batch} images with {instances} of each identity does not work: the batch "
            "must be a multiple of instances, with at least 2 instances and 2 identities"
        )
    if identities < batch // instances:
        remedy = f"Use --set batch={identities * instances} or less"
        raise BadInput(
            f"a batch of {batch} images with {instances} of each identity needs "
            f"{batch // instances} identities; {where} has {identities}. "
            + ("Training needs at least 2" if identities < 2 else remedy)
        )


def identity_batches(
    labels: np.ndarray, *, batch: int, instances: int, generator: np.random.Generator
) -> list[np.ndarray]:
    """Return one epoch of batches, each [batch] int64 rows of `labels`, K of each of P identities.

    labels: [N] int64.
    Each identity's images are shuffled and cut into groups of K; those with fewer than K are drawn
    with replacement, and a remainder is left out. Batches take a group from each of P identities
    until fewer than P have one left (as in the released code).
    """
    groups = {
        int(label): _groups(np.flatnonzero(labels == label), instances, generator=generator)
        for label in np.unique(labels)
    }
    people = batch // instances
    batches = []
    while len(groups) >= people:
        drawn = generator.choice(sorted(groups), size=people, replace=False)
        batches.append(np.concatenate([groups[label].pop() for label in drawn.tolist()]))
        groups = {label: left for label, left in groups.items() if left}
    return batches


def _groups(rows: np.ndarray, size: int, *, generator: np.random.Generator) -> list[np.ndarray]:
    if len(rows) < size:
        return [generator.choice(rows, size=size, replace=True)]
    shuffled = generator.permutation(rows)
    whole = len(rows) // size
    return list(shuffled[: whole * size].reshape(whole, size))
