"""Plan a reproduction: what it will train and measure, what exists, and how long it takes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..gallery.refinement import refine
from ..progress import Progress
from .experiment import Experiment
from .flops import flops_a_person
from .variants import CONTROLS, NFORMER, SEVERAL_RUNS, Variant, needed_by

TIMED_STEPS = 2
LEVELS = 4  # of Table 3


@dataclass(frozen=True)
class Training:
    """One training that is wanted."""

    experiment: Experiment
    variant: Variant
    seed: int


@dataclass(frozen=True)
class Plan:
    """The trainings to run, how many lie there, and the seconds that all of it should take."""

    names: Sequence[str]
    missing: Sequence[Training]
    cached: Sequence[Training]
    seconds: float

    def lines(self) -> list[str]:
        """Return the plan in words."""
        told = [f"plan: {', '.join(self.names)}"]
        for title, trainings in (("cached", self.cached), ("to train", self.missing)):
            if trainings:
                told.append(f"  {title}: {_counted(trainings)}")
        if self.missing:
            settings = self.missing[0].experiment.settings
            told.append(
                f"  {len(self.missing)} trainings of {settings.steps} steps, {len(self.cached)} "
                f"cached; about {_duration(self.seconds)} on this machine, measuring included"
            )
        else:
            told.append(f"  nothing to train: all {len(self.cached)} trainings are cached")
        return told


def make_plan(
    experiments: Sequence[Experiment], names: Sequence[str], *, progress: Progress
) -> Plan:
    """Return the plan for some tables and figures; one training and one test are timed for it.

    Raises:
        BadInput: a run has no training identities.
    """
    wanted = [
        Training(experiment, variant, seed)
        for number, experiment in enumerate(experiments)
        for variant in needed_by(n for n in names if not number or n in SEVERAL_RUNS)
        for seed in experiment.seeds
    ]
    missing = [one for one in wanted if not one.experiment.is_trained(one.variant, one.seed)]
    cached = [one for one in wanted if one not in missing]
    seconds = 0.0
    for experiment in experiments:
        own = [one for one in missing if one.experiment is experiment]
        if own:
            with progress.task("estimate", None) as task:
                seconds += _seconds(experiment, own, names=names)
                task.advance()
    return Plan(names, missing, cached, seconds)


def _seconds(experiment: Experiment, missing: Sequence[Training], *, names: Sequence[str]) -> float:
    """Estimate from a few steps and one test of NFormer; others by their operations."""
    trainer = experiment.trainer(NFORMER, 0)
    trainer.step()
    begun = time.perf_counter()
    for _ in range(TIMED_STEPS):
        trainer.step()
    step = (time.perf_counter() - begun) / TIMED_STEPS
    begun = time.perf_counter()
    experiment.scored(refine(trainer.model, experiment.query, experiment.gallery))
    test = time.perf_counter() - begun
    assert experiment.train is not None
    batch = min(experiment.settings.batch, len(experiment.train))
    whole = len(experiment.query) + len(experiment.gallery)
    repeats = 1 + ("table2" in names) + LEVELS * ("table3" in names)
    total = 0.0
    for one in missing:
        tests = (experiment.settings.draws if one.variant.draws_matter else 1) * (
            repeats if one.variant in CONTROLS else 1
        )
        total += (
            experiment.settings.steps * step * _times(one.variant, batch, dim=experiment.query.dim)
        )
        total += tests * test * _times(one.variant, whole, dim=experiment.query.dim)
    return total


def _times(variant: Variant, rows: int, *, dim: int) -> float:
    """Return how many times NFormer's operations a variant takes."""
    return flops_a_person(variant, rows, dim=dim) / flops_a_person(NFORMER, rows, dim=dim)


def _counted(trainings: Sequence[Training]) -> str:
    counts: dict[str, int] = {}
    for one in trainings:
        counts[one.variant.name] = counts.get(one.variant.name, 0) + 1
    return ", ".join(f"{name} × {count}" for name, count in counts.items())


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
