"""Plan a reproduction: what it will train and measure, what exists, and how long it takes."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..config import NFormerConfig
from ..gallery.refinement import refine
from ..progress import Progress
from ..reporting.paper import MARKET
from ..settings import configure
from . import learning_curve
from .experiment import Experiment, lies_whole
from .flops import flops_a_person
from .variants import CONTROLS, NFORMER, SEVERAL_RUNS, Variant, needed_by

TIMED_STEPS = 2
LEVELS = 4  # of Table 3
GPU_RATE = 20e12  # operations a second that a GPU is taken to make of these: assumed
GPU_LAUNCHES = 5e-3  # seconds that it takes at least for a step's or a test's kernels: assumed
BACKWARD = 3  # a training step's operations, in those of the forward pass


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
            first = self.missing[0].experiment
            settings, theirs = first.trained_by, papers_training()
            told.append(
                f"  {len(self.missing)} trainings of {settings.steps} steps of {first.batch:,} "
                f"embeddings ({first.recipe}), {len(self.cached)} cached; about "
                f"{_duration(self.seconds)} on this machine, measuring included"
            )
            told.append(
                f"  on Market-1501, with the paper's 160 epochs there ({theirs.steps:,} steps of "
                f"{theirs.batch:,} embeddings; {MARKET:,} to test), about "
                f"{_duration(_gpu_seconds(self.missing, self.names))} on a GPU that makes "
                f"{GPU_RATE / 1e12:g} TFLOP/s and takes {1000 * GPU_LAUNCHES:g} ms at least for a "
                "step; both are assumed, and ranking is left out"
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
        for variant in _needed(experiment, [n for n in names if not number or n in SEVERAL_RUNS])
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


def _needed(experiment: Experiment, names: Sequence[str]) -> list[Variant]:
    """Return each variant that the tables and figures of one run need, once."""
    less = learning_curve.variants(experiment) if "learning_curve" in names else []
    return list(dict.fromkeys([*needed_by(names), *less]))


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
    whole = len(experiment.query) + len(experiment.gallery)
    total = 0.0
    for one in missing:
        steps = one.variant.steps or experiment.trained_by.steps
        for seconds, rows in (
            (steps * step, experiment.batch),
            (_tests(one, names) * test, whole),
        ):
            flops, usual = (
                flops_a_person(v, rows, **experiment.shape) for v in (one.variant, NFORMER)
            )
            total += seconds * flops / usual
    return total


def _tests(one: Training, names: Sequence[str]) -> int:
    """Return how often a training is tested: by draws, with and without re-ranking, on subsets."""
    draws = one.experiment.settings.draws if one.variant.draws_matter else 1
    repeats = 1 + ("table2" in names) + LEVELS * ("table3" in names)
    return draws * (repeats if one.variant in CONTROLS else 1)


def papers_training() -> NFormerConfig:
    """Return how long and on how many embeddings the paper trains NFormer on Market-1501."""
    found: NFormerConfig = configure("nformer", recipe="paper")
    return found


def _gpu_seconds(trainings: Sequence[Training], names: Sequence[str]) -> float:
    """Return what as many trainings of the paper's length, and their tests, would take a GPU.

    On Market-1501, by operations.
    """
    total, theirs = 0.0, papers_training()
    for one in trainings:
        shape = one.experiment.shape
        parts = (
            (one.variant.steps or theirs.steps, BACKWARD * theirs.batch, theirs.batch),
            (_tests(one, names), MARKET, MARKET),
        )
        for times, passed, rows in parts:
            operations = passed * flops_a_person(one.variant, rows, **shape)
            total += times * max(GPU_LAUNCHES, operations / GPU_RATE)
    return total


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
