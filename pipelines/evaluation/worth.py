"""What pays: which rows rank worse than what they start from, by more than the comparison's error.

The error is a paired bootstrap over the queries, 95 %.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..ranking.bootstrap import Difference, paired_difference
from ..seeding import numpy_generator

if TYPE_CHECKING:
    from .scoring import Scored

BASELINE = "baseline"
HARM = 0.002  # mAP, the smallest loss worth a word
REMEDY = (
    "Of nformer evaluate, --will-it-help estimates beforehand what refinement gains, and --all "
    "shows what needs no training"
)


def what_pays(scored: "Mapping[str, Scored]", *, seed: int = 0) -> list[str]:
    """Say which refiners and re-rankings lower mAP, and whether any raises it.

    A refiner is compared with the baseline, a re-ranking with the same row without it.
    """
    if BASELINE not in scored or len(scored) < 2:
        return []
    others = [name for name in scored if name != BASELINE]
    lower = {}
    for name in others:
        start = name.rpartition("+")[0] or BASELINE
        if start in scored:
            found = _difference(scored[start], scored[name], seed=seed)
            if found.high < 0 and found.mean <= -HARM:
                lower[name] = f"{scored[name].row.label} {_shown(found)}{_than(start, scored)}"
    said = []
    if lower:
        said = [f"Lower mAP, by more than the error (95 %): {'; '.join(lower.values())}."]
    from_baseline = [_difference(scored[BASELINE], scored[name], seed=seed) for name in others]
    if all(found.high < 0 for found in from_baseline):
        said.append(f"Keep the baseline: everything else ranks worse here. {REMEDY}.")
    elif not any(found.low > 0 for found in from_baseline):
        best = max(range(len(others)), key=lambda row: from_baseline[row].mean)
        most = f"{scored[others[best]].row.label} {_shown(from_baseline[best])}"
        said.append(
            "Keep the baseline: nothing here raises its mAP by more than the error (95 %). The "
            f"most: {most}."
        )
    return said


def _difference(first: "Scored", second: "Scored", *, seed: int) -> Difference:
    pair = np.stack([first.average_precision, second.average_precision])  # [2, Q], NaN: no match
    valid = pair[:, np.isfinite(pair).all(axis=0)]
    return paired_difference(*valid, random=numpy_generator(seed, "what pays"))


def _shown(found: Difference) -> str:
    mean, low, high = (f"{100 * value:+.1f}" for value in found)
    return f"{mean} ({low} … {high})"


def _than(start: str, scored: "Mapping[str, Scored]") -> str:
    return "" if start == BASELINE else f" from {scored[start].row.label}"
