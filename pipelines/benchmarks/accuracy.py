"""Accuracy of the default on many sets, beside every closed form, in domain and out of it."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..progress import Progress, Silent
from .accuracy_figures import Figures, Kept, in_domain, out_of_domain
from .accuracy_sets import Case, drawn_cases, elsewhere, given_cases
from .record import Record

TITLE = (
    "mAP in % of the default on identities never seen, isolated protocol, beside the baseline and "
    "the best closed form of `evaluate --all`"
)
COLUMNS = (
    "",
    "baseline",
    "best closed form",
    "default",
    "auto",
    "rank-1",
    "domain shift",
    "images of a person",
)
MOST_SHOWN = 10  # of the foreign pairs that changed


def measure(
    *,
    quick: bool = False,
    sets: Sequence[str] = (),
    keep: str | None = None,
    seeds: int = 1,
    progress: Progress = Silent(),
) -> Record:
    """Train with the defaults on every set, test each model in and out of its domain.

    sets:  folders of embedding files (as `nformer import-embeddings` reads them), and runs.
    keep:  a folder for the result of each set; what it holds of the same code is not made again.
    seeds: how often each drawn set is drawn.
    """
    with tempfile.TemporaryDirectory(prefix="nformer-accuracy-") as scratch:
        kept = Kept(Path(keep or scratch))
        cases = [*drawn_cases(quick=quick, seeds=seeds), *given_cases(sets)]
        with progress.task("train and test", len(cases), unit="sets") as task:
            found: list[Figures] = []
            for case in cases:
                found.append(in_domain(case, kept))
                task.advance(default=found[-1].default, ahead=found[-1].ahead)
        sources = [case for case in cases if not case.foreign and case.seed == 0]
        pairs = list(foreign_pairs(sources, list(elsewhere(cases, quick=quick))))
        with progress.task("test out of domain", len(pairs), unit="pairs") as task:
            for source, target in pairs:
                found.append(out_of_domain(source, target, kept=kept))
                task.advance(shift=found[-1].shift)
    return record_of(found)


def foreign_pairs(sources: Sequence[Case], targets: Sequence[Case]) -> Iterator[tuple[Case, Case]]:
    """Yield a case to train on and one of equal width to test on, never both of one world."""
    for source in sources:
        for target in targets:
            apart = source.name != target.name or source.seed != target.seed
            if apart and source.train.dim == target.query.dim:
                yield source, target


def record_of(found: Sequence[Figures]) -> Record:
    """Return the table: a row for each set in domain, and for the foreign pairs that changed."""
    inside = [one for one in found if not one.foreign]
    outside = [one for one in found if one.foreign]
    changed = [one for one in outside if abs(one.gain) > 0 or not one.warned]
    worst = sorted(changed, key=lambda one: one.gain)[:MOST_SHOWN]
    rows = [_row(name, of_one) for name, of_one in _by_name([*inside, *worst]).items()]
    return Record(TITLE, list(COLUMNS), rows, summary(inside, outside))


def summary(inside: Sequence[Figures], outside: Sequence[Figures]) -> list[str]:
    """Return how the default stands: mean, minimum and the worst set, in domain and out of it."""
    lines = []
    if inside:
        ahead = [float(np.mean([one.ahead for one in some])) for some in _by_name(inside).values()]
        advised = [one.advised - max(one.closed, one.default) for one in inside]
        fallen = [one for one in inside if one.lost_rank1]
        alarms = [one.name for one in inside if one.warned]
        lines += [
            f"In domain, {len(inside)} sets: default less the best closed form "
            f"{_mean_and_worst(list(_by_name(inside)), ahead)}. ",
            f"`--refine auto` less the best row "
            f"{_mean_and_worst([one.name for one in inside], advised)}. ",
            f"Rank-1 below the baseline's by more than its error: {_listed(fallen)}. ",
            f"Warned of a foreign gallery where there is none: {_names(alarms)}. ",
            f"Images of a person, estimated: {_apart(inside)}. ",
            f"Seconds to train: {min(one.seconds for one in inside):.0f} to "
            f"{max(one.seconds for one in inside):.0f}. ",
        ]
    if outside:
        missed = [one.name for one in outside if not one.warned]
        lines += [
            f"Out of domain, {len(outside)} pairs: default less the baseline "
            f"{_mean_and_worst([one.name for one in outside], [one.gain for one in outside])}. ",
            f"Not warned of: {_names(missed)}. ",
        ]
    return lines


def _apart(found: Sequence[Figures]) -> str:
    """Return how far the estimates are from the truth, and on how many sets there is none."""
    apart = {one.name: one.estimated / one.images for one in found if one.estimated is not None}
    untold = f"not told on {sum(one.estimated is None for one in found)}"
    if not apart:
        return untold
    low, high = min(apart, key=lambda name: apart[name]), max(apart, key=lambda name: apart[name])
    return f"{apart[low]:.2f} ({low}) to {apart[high]:.2f} ({high}) times the truth, {untold}"


def _estimated(seeds: Sequence[Figures]) -> str:
    told = [one.estimated for one in seeds if one.estimated is not None]
    return f"{np.mean(told):.3g}" if told else "not told"


def _mean_and_worst(names: Sequence[str], values: Sequence[float]) -> str:
    least = int(np.argmin(values))
    at_least = f"{values[least]:+.1f} at the least ({names[least]})"
    return f"{np.mean(values):+.1f} on the average, {at_least}"


def _names(names: Sequence[str]) -> str:
    return "; ".join(names[:MOST_SHOWN]) + f" ({len(names)})" if names else "none"


def _listed(some: Sequence[Figures]) -> str:
    said = [
        f"{one.name} {one.rank1_before:.1f} to {one.rank1:.1f} ± {one.rank1_error:.1f}"
        for one in some
    ]
    return _names(said)


def _by_name(found: Sequence[Figures]) -> dict[str, list[Figures]]:
    named: dict[str, list[Figures]] = {}
    for one in found:
        named.setdefault(one.name, []).append(one)
    return named


def _row(name: str, seeds: Sequence[Figures]) -> list[str]:
    """Return the cells of one set, means over its seeds."""

    def mean(what: str) -> float:
        return float(np.mean([getattr(one, what) for one in seeds]))

    closed = f"{mean('closed'):.1f} {seeds[0].best}" if not seeds[0].foreign else ""
    warned = sum(one.warned for one in seeds)
    return [
        name,
        f"{mean('baseline'):.1f}",
        closed,
        f"{mean('default'):.1f}",
        f"{mean('advised'):.1f}",
        f"{mean('rank1_before'):.1f} to {mean('rank1'):.1f}",
        f"{mean('shift'):.1f}" + (" foreign" if warned else ""),
        f"{mean('images'):.3g}, estimated {_estimated(seeds)}" if not seeds[0].foreign else "",
    ]
