"""P × K identity batches: P people, K images of each (Hermans et al., 2017)."""

import numpy as np

from ..errors import BadInput


def fitting_batch(identities: int, *, batch: int, instances: int, where: str) -> int:
    """Return the largest batch of at most `batch` images that can be drawn, K of each identity.

    Raises:
        BadInput: a batch of fewer than two identities, or a set that has fewer.
    """
    if batch < 2 * instances:
        raise BadInput(
            f"--batch {batch} holds fewer than two identities of {instances} images: use --batch "
            f"{2 * instances} or more, or --set instances={max(batch // 2, 2)}"
        )
    if identities < 2:
        raise BadInput(f"{where} has images of {identities} identity; training needs two or more")
    return min(batch // instances, identities) * instances


def identity_batches(
    labels: np.ndarray,
    *,
    batch: int,
    instances: int,
    generator: np.random.Generator,
    evenly: bool = False,
) -> list[np.ndarray]:
    """Return one epoch of batches, each [batch] int64 rows of `labels`, K of each of P identities.

    labels: [N] int64.
    Each identity's images are shuffled and cut into groups of K; those with fewer than K are drawn
    with replacement, and a remainder is left out. Batches take a group from each of P identities
    until fewer than P have one left (as in the released code).

    evenly: an identity whose groups are used up begins again, until there are as many batches as
            groups can fill. So every identity is drawn as often as any other, to the end of the
            epoch; otherwise those with few images, of several sets the smallest, are gone early.
    """
    rows = {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}
    groups = {label: _groups(own, instances, generator=generator) for label, own in rows.items()}
    people = batch // instances
    most = sum(map(len, groups.values())) // people
    batches: list[np.ndarray] = []
    while len(groups) >= people and len(batches) < most:
        drawn = generator.choice(sorted(groups), size=people, replace=False).tolist()
        batches.append(np.concatenate([groups[label].pop() for label in drawn]))
        if evenly:
            groups |= {
                label: _groups(rows[label], instances, generator=generator)
                for label in drawn
                if not groups[label]
            }
        else:
            groups = {label: left for label, left in groups.items() if left}
    return batches


def _groups(rows: np.ndarray, size: int, *, generator: np.random.Generator) -> list[np.ndarray]:
    if len(rows) < size:
        return [generator.choice(rows, size=size, replace=True)]
    shuffled = generator.permutation(rows)
    whole = len(rows) // size
    return list(shuffled[: whole * size].reshape(whole, size))
