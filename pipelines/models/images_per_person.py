"""How many images of each person a set holds, estimated without labels."""

import torch
from torch import Tensor

from ..seeding import torch_generator

BINS = 80  # of similarities from -1 to 1
ROUNDS = 300  # of expectation and maximisation
SAMPLED = 2000  # rows whose pairs are looked at
MORE, FEWER = 3.3, 2.2  # times as many, or as few, images as make another k


def histogram(similarities: Tensor) -> Tensor:
    """Return how many similarities fall into each bin: [BINS] float32."""
    return torch.histc(similarities.float().cpu(), bins=BINS, min=-1.0, max=1.0)


def pair_histogram(rows: Tensor) -> Tensor:
    """Return the histogram of the similarities of all pairs of unit rows, or of a sample's."""
    if len(rows) > SAMPLED:
        generator = torch_generator(0, "images per person")
        rows = rows[torch.randperm(len(rows), generator=generator)[:SAMPLED].to(rows.device)]
    places = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
    return histogram((rows @ rows.T)[places[0], places[1]])


def images_per_person(rows: Tensor, within: Tensor, between: Tensor) -> float:
    """Estimate how many images of each person there are among unit rows [N, d].

    within, between: histograms of the similarities of pairs of the same and of different persons.
    The similarities of all pairs are a mixture of the two; its weight says how many pairs are of
    one person.
    """
    if len(rows) < 2:
        return 1.0
    pairs, same, other = (
        (part + 1e-3) / (part + 1e-3).sum()
        for part in (pair_histogram(rows), within.cpu(), between.cpu())
    )
    weight = torch.tensor(0.05)
    for _ in range(ROUNDS):
        share = weight * same / (weight * same + (1 - weight) * other)
        weight = (pairs * share).sum()
    return 1 + float(weight) * (len(rows) - 1)


def fitting_neighbours(k: int, *, chosen_for: float, found: float) -> int:
    """Return k for a set with `found` images of a person where k was chosen for other sets.

    Only a set that is clearly unlike those that k was chosen for gets another.
    """
    ratio = found / chosen_for
    if 1 / FEWER < ratio < MORE:
        return k
    if ratio > 1:
        alone = k == 1 and chosen_for < 2  # there was nobody to read when k was chosen
        return max(k, round(found / 2)) if alone else (round(k * ratio) if k > 1 else 1)
    return 1 if found < 1.7 else max(1, round(k * ratio))
