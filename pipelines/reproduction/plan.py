"""Plan a reproduction: what it will train and measure, what exists, and how long it takes."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..gallery.refinement import refine
from ..progress import Progress
from .experiment import Experiment, lies_whole
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
                counts = Counter(one.variant.name for one in trainings)
                listed = ", ".join(f"{name} × {count}" for name, count in counts.items())
                told.append(f"  {title}: {listed}")
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
    cached = [
        one
        for one in wanted
        if lies_whole(one.experiment.run, one.experiment.wanted(one.variant, one.seed))
    ]
    missing = [one for one in wanted if one not in cached]
    seconds = 0.0
    for experiment in experiments:
        own = [one for one in missing if one.experiment is experiment]
        if own:
            with progress.task("estimate", 1) as task:
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
    dim, total = experiment.query.dim, 0.0
    for one in missing:
        tests = experiment.settings.draws if one.variant.draws_matter else 1
        tests *= repeats if one.variant in CONTROLS else 1
        for seconds, rows in ((experiment.settings.steps * step, batch), (tests * test, whole)):
            flops, usual = (flops_a_person(v, rows, dim=dim) for v in (one.variant, NFORMER))
            total += seconds * flops / usual
    return total


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
