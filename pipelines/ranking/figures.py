"""The figures of a ranking, from the ranks of every query's true matches; and means over draws."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..seeding import numpy_generator

AT = re.compile(r"(?:rank|recall@)([1-9]\d*)")


@dataclass(frozen=True, eq=False)
class Ranks:
    """What figures are computed from.

    matches: for each query the ranks, from 1 and ascending, of its true matches; none: not valid.
    first:   for each query what CMC counts: the rank of the first match, once or for each draw.
    pids:    [Q] of the queries.   longest: the largest rank of `first` that there can be.
    nearest: [Q] how near the first item of each list is, and whether it is right [Q]; of open sets.
    """

    matches: Sequence[np.ndarray]
    first: Sequence[np.ndarray]
    pids: np.ndarray
    longest: int
    nearest: tuple[np.ndarray, np.ndarray] | None = None
    seed: int = 0
    valid: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "valid", np.array([len(one) > 0 for one in self.matches], bool))

    def of_each(self, figure: "Callable[[np.ndarray], float]") -> np.ndarray:
        """Return a figure of the ranks of each query's matches, [Q]; NaN where it has none."""
        return np.array([figure(found) if len(found) else np.nan for found in self.matches], float)

    def cmc(self, length: int) -> np.ndarray:
        """Return the share of valid queries with a match among the first r, [length]."""
        found = np.concatenate(self.first)
        hits = np.bincount(found, minlength=length + 1)[1 : length + 1]
        curve: np.ndarray = np.cumsum(hits) / len(found)
        return curve


def average_precision(found: np.ndarray) -> float:
    """Return the mean of the precision at each match's rank."""
    return float((np.arange(1, len(found) + 1) / found).mean())


def inverse_negative_penalty(found: np.ndarray) -> float:
    """Return the number of matches over the rank of the last (Ye et al., TPAMI 2021)."""
    return float(len(found) / found[-1])


def precision_at_r(found: np.ndarray) -> float:
    """Return the sum of the precision at matches among the first R, over R, the number of matches.

    Musgrave, Belongie and Lim, A Metric Learning Reality Check, ECCV 2020: MAP@R is its mean.
    """
    within = found[found <= len(found)]
    return float((np.arange(1, len(within) + 1) / within).sum() / len(found))


def figure_of(name: str, ranks: Ranks) -> float:
    """Return a figure by the name that rules have for it, a fraction of 1.

    accuracy: of naming each query after its nearest item; balanced accuracy: its mean over the
    identities. Both are of the queries that have a match.
    BAKS, BAUS, BAKS-BAUS: see `known_and_unknown`.
    """
    at = AT.fullmatch(name)
    if at is not None:
        return float(ranks.cmc(max(1, min(int(at[1]), ranks.longest)))[-1])
    if name in OF_EACH:
        return float(ranks.of_each(OF_EACH[name])[ranks.valid].mean())
    if name in ("accuracy", "balanced accuracy"):
        right = ranks.of_each(lambda found: float(found[0] == 1))[ranks.valid]
        if name == "accuracy":
            return float(right.mean())
        return balanced(right, ranks.pids[ranks.valid])
    return known_and_unknown(ranks)[name]


OF_EACH = {"mAP": average_precision, "mINP": inverse_negative_penalty, "MAP@R": precision_at_r}


def balanced(right: np.ndarray, pids: np.ndarray) -> float:
    """Return the mean over identities of the share that is right; NaN of none."""
    people, place = np.unique(pids, return_inverse=True)
    if not len(people):
        return float("nan")
    return float((np.bincount(place, weights=right) / np.bincount(place)).mean())


def known_and_unknown(ranks: Ranks) -> dict[str, float]:
    """Return BAKS, BAUS and their geometric mean (AnimalCLEF 2025).

    A query is named new where its nearest item is less near than a threshold, else after that item.
    BAKS is the balanced accuracy of the queries whose identity is in the gallery, BAUS of the
    others, for whom new is right. The threshold of one half of the queries' identities is the one
    that is best on the other half, so no query takes part in choosing its own.
    """
    assert ranks.nearest is not None
    near, right = ranks.nearest
    people = np.unique(ranks.pids)
    half = numpy_generator(ranks.seed, "known and unknown").permutation(len(people)) % 2
    part = half[np.searchsorted(people, ranks.pids)]
    good = np.zeros(len(near), bool)
    for number in (0, 1):
        mine, other = part == number, part != number
        threshold = _best_threshold(near[other], right[other], known=ranks.valid[other])
        accepted = near[mine] >= threshold
        good[mine] = np.where(ranks.valid[mine], accepted & right[mine], ~accepted)
    known, unknown = (
        balanced(good[which].astype(float), ranks.pids[which])
        for which in (ranks.valid, ~ranks.valid)
    )
    return {"BAKS": known, "BAUS": unknown, "BAKS-BAUS": float(np.sqrt(known * unknown))}


def _best_threshold(near: np.ndarray, right: np.ndarray, *, known: np.ndarray) -> float:
    """Return the nearness from which on to accept, so that √(known right × unknown new) is largest.

    Shares are of images. Without known or unknown queries everything, or nothing, is accepted.
    """
    if not known.any() or known.all():
        return -np.inf if known.any() or not len(known) else np.inf
    levels = np.unique(near)
    ends = np.append(levels, np.inf)
    hits = np.sort(near[known & right])
    strangers = np.sort(near[~known])
    kept = (len(hits) - np.searchsorted(hits, ends)) / known.sum()
    refused = np.searchsorted(strangers, ends) / len(strangers)
    return float(ends[np.argmax(kept * refused)])
