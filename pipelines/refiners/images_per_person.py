"""How many images of each person a set holds, estimated without labels."""

import torch
from torch import Tensor

from ..seeding import torch_generator

BINS = 80  # of similarities from -1 to 1
ROUNDS = 300  # of expectation and maximisation
SAMPLED = 2000  # rows whose pairs are looked at
MORE, FEWER = 3.3, 2.2  # times as many, or as few, images as make another k
MIN_IMAGES_FOR_NEIGHBOURS = 6.0  # of a person, where k = 1 was chosen for want of neighbours
MAX_SPREAD_RATIO = 1.4  # times as wide, or as narrow, similarities are those of other data
LOW = 0.16  # share of pairs below one standard deviation under the median


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


def images_per_person(rows: Tensor, within: Tensor, between: Tensor) -> float | None:
    """Estimate how many images of each person there are among unit rows [N, d].

    within, between: histograms of the similarities of pairs of the same and of different persons.
    The similarities of all pairs are a mixture of the two; its weight says how many pairs are of
    one person. Most pairs are of two, so their half below the median shows how far pairs of two
    have moved and spread here. None where they spread quite differently: the set is of another
    kind, and what one person's pairs look like in it is not known.
    """
    if len(rows) < 2:
        return 1.0
    found = pair_histogram(rows)
    other, spread = as_spread(between.cpu(), found)
    if not 1 / MAX_SPREAD_RATIO < spread < MAX_SPREAD_RATIO:
        return None
    return 1 + share_of_one_person(found, within.cpu(), between=other) * (len(rows) - 1)


def share_of_one_person(pairs: Tensor, within: Tensor, *, between: Tensor) -> float:
    """Estimate which share of pairs are of one person, by expectation and maximisation.

    Histograms [BINS] of similarities: of the pairs, of pairs of one person, and of two persons.
    """
    pairs, same, other = ((part + 1e-3) / (part + 1e-3).sum() for part in (pairs, within, between))
    weight = torch.tensor(0.05)
    for _ in range(ROUNDS):
        share = weight * same / (weight * same + (1 - weight) * other)
        weight = (pairs * share).sum()
    return float(weight)


def as_spread(histogram: Tensor, like: Tensor) -> tuple[Tensor, float]:
    """Return a histogram moved and stretched so that its lower half is that of another.

    The second value is by how much it was stretched.
    """
    middle, low = _quantile(histogram, 0.5), _quantile(histogram, LOW)
    new_middle = _quantile(like, 0.5)
    stretch = (new_middle - _quantile(like, LOW)) / max(middle - low, 1e-6)
    edges = (torch.linspace(-1, 1, BINS + 1) - new_middle) / max(stretch, 1e-6) + middle
    place = ((edges + 1) / 2 * BINS).clamp(0, BINS)
    total = torch.cat([torch.zeros(1), histogram.cumsum(0)])
    low_place = place.floor().long().clamp(max=BINS - 1)
    share = place - low_place
    return torch.lerp(total[low_place], total[low_place + 1], share).diff(), stretch


def _quantile(histogram: Tensor, share: float) -> float:
    """Return the similarity below which a share of a histogram lies."""
    total = histogram.cumsum(0) / histogram.sum().clamp(min=1e-9)
    place = int((total < share).sum().clamp(max=BINS - 1))
    before = float(total[place - 1]) if place else 0.0
    inside = (share - before) / max(float(total[place]) - before, 1e-9)
    return -1 + 2 / BINS * (place + inside)


def fitting_neighbours(k: int, *, chosen_for: float, found: float) -> int:
    """Return k for a set with `found` images of a person where k was chosen for other sets.

    Only a set that is clearly unlike those that k was chosen for gets another.
    """
    ratio = found / chosen_for
    if 1 / FEWER < ratio < MORE:
        return k
    if ratio > 1:
        if k == 1 and chosen_for < 2:  # no neighbours showed the person when k was chosen
            return round(found / 2) if found >= MIN_IMAGES_FOR_NEIGHBOURS else 1
        return round(k * ratio) if k > 1 else 1
    return 1 if found < 1.7 else max(1, round(k * ratio))
