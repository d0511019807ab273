"""Which threshold? By held-out identities where there are some, else by separation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import BadInput
from ..neighbours.graph import NeighbourGraph
from .members import separation
from .methods import Hierarchy

LEVELS = 60  # thresholds that are compared
FALLEN = 0.8  # of the best separation: below it the first peak is passed
FEW = 20  # fewer thresholds lie too far apart to be averaged with their neighbours
NOISE = 0.01  # of a separation
AS_GOOD = 0.005  # thresholds that come as near to the best are as good: the middle one is taken


@dataclass(frozen=True)
class Chosen:
    """A threshold, a cosine, and how it was chosen.

    by:    "given", "held-out identities", "separation", or "hdbscan's own choice".
    score: what was highest there: the mean of BCubed F and pairwise F on held-out identities, or
           the mean silhouette; None where nothing was compared.
    bcubed, pairwise: these F on held-out identities.
    """

    threshold: float
    by: str
    score: float | None = None
    bcubed: float | None = None
    pairwise: float | None = None

    def worse_than(self, other: "Chosen") -> bool:
        """Return whether BCubed F or pairwise F is lower than another's, where both are known."""
        mine, theirs = (self.bcubed, self.pairwise), (other.bcubed, other.pairwise)
        return any(
            one is not None and two is not None and one < two
            for one, two in zip(mine, theirs, strict=True)
        )

    def __str__(self) -> str:
        said = {
            "given": "given",
            "held-out identities": "highest mean of BCubed F and pairwise F on held-out training "
            "identities",
            "separation": "without labels, by the clusters' separation (first peak of the mean "
            "silhouette)",
        }.get(self.by, self.by)
        if self.score is None:
            return said
        is_f = self.by == "held-out identities"  # in per cent, as tables have it
        return f"{said}, {100 * self.score:.1f}" if is_f else f"{said}, {self.score:.3f}"


def by_separation(
    found: Hierarchy, rows: np.ndarray, *, graph: NeighbourGraph, seed: int = 0
) -> Chosen:
    """Return the threshold at the first peak of the mean silhouette, from strict ones downwards.

    Behind it lie coarser groups, such as all motorcycles, which may be separated better still.
    """
    best, chosen = -1.0, 1.0
    for level in found.levels(LEVELS):
        value = separation(rows, found.cut(float(level)), graph=graph, seed=seed)
        if value > best:
            best, chosen = value, float(level)
        elif value < FALLEN * best - NOISE:
            break
    return Chosen(chosen, "separation", best)


@dataclass(frozen=True, eq=False)
class Trial:
    """A clustering of rows of known identities [N], and of strangers: negative ones, each alone."""

    found: Hierarchy
    pids: np.ndarray

    def figures(self, levels: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return BCubed F and pairwise F at each threshold: [n, 2]."""
        found = [figures(self.found.cut(float(level)), self.pids) for level in levels]
        return np.array(found).reshape(len(found), 2)


def figures(labels: np.ndarray, pids: np.ndarray) -> tuple[float, float]:
    """Return BCubed F and pairwise F over the rows of known identities.

    labels: [N] clusters from 0.   pids: [N]; a negative one is a stranger, who belongs into no
    cluster with them, but of whom nothing else is known.
    """
    known = pids >= 0
    people = np.unique(pids[known], return_inverse=True)[1]
    sizes, ours = np.bincount(labels), np.bincount(labels[known], minlength=labels.max() + 1)
    _, cell, both = np.unique(
        labels[known] * (people.max() + 1) + people, return_inverse=True, return_counts=True
    )
    shared = both[cell].astype(float)  # rows of a row's person in its cluster, with itself
    images = np.bincount(people)
    precision = float((shared / sizes[labels[known]]).mean())
    recall = float((shared / images[people]).mean())
    right = float((both * (both - 1.0)).sum() / 2)
    put = float((ours * (ours - 1.0) / 2 + ours * (sizes - ours)).sum())
    true = float((images * (images - 1.0)).sum() / 2)
    pairwise = 2 * right / (put + true) if put + true > 0 else 1.0
    return 2 * precision * recall / (precision + recall), pairwise


def by_identities(trials: Sequence[Trial]) -> Chosen:
    """Return the threshold that agrees best with known identities, a mean over trials.

    Raises:
        BadInput: no trials.
    """
    if not trials:
        raise BadInput("no held-out identities; a threshold cannot be calibrated")
    every = np.unique(np.concatenate([np.asarray(t.found.levels(LEVELS)) for t in trials]))[::-1]
    places = np.unique(np.linspace(0, len(every) - 1, LEVELS).astype(int))
    levels = every[places]
    both = np.mean([trial.figures(levels) for trial in trials], axis=0)  # [levels, 2]
    means = both.mean(axis=1)
    smooth = means
    if len(levels) >= FEW:
        smooth = np.convolve(np.pad(means, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    best = int(np.argmax(smooth))
    below = np.flatnonzero(smooth < smooth[best] - AS_GOOD)
    first = max((place for place in below.tolist() if place < best), default=-1) + 1
    last = min((place for place in below.tolist() if place > best), default=len(levels)) - 1
    middle = float(levels[first] + levels[last]) / 2
    bcubed, pairwise = map(float, both[best])
    return Chosen(middle, "held-out identities", float(means[best]), bcubed, pairwise)
