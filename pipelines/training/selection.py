"""Choose the closed form by cross-validation over training identities."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..progress import Task
from ..refiners.closed_form import ClosedFormSettings
from ..refiners.images_per_person import histogram
from .folds import Fold

NEIGHBOURS = (2, 3, 4, 6, 8, 12, 16, 24, 32)
SHRINKAGES = (0.9, 0.8, 0.6, 0.4, 0.2, 0.1, 0.05)
BETWEENS = (0.0, 10.0, 3.0, 1.0, 0.3, 0.1)
SHARPNESSES = (0.0, 1.25, 5 / 3, 2.5, 10 / 3, 5.0)
METRICS = ((1.0, 0.0), *((a, b) for a in SHRINKAGES for b in BETWEENS))
MOST_AVERAGED = 12  # metrics
ALONE: dict[str, Any] = {"neighbours": 1, "per_camera": False, "sharpness": 0.0, "layers": 1}
SWEEPS = 2
CameraAware = Literal["auto", "on", "off"]
SATURATED = 0.88  # held-out mAP above which every choice looks right
SEEN_IDENTITIES = 0.9  # held-out mAP of embeddings as they are: the backbone saw the identities
SEEN_TOLERANCE = 0.01  # mAP that camera means may cost there: it ignores these persons' cameras
STEP = 1.25  # held-out identities are spread wider by this factor until they are hard enough
WIDEST = 4.0
TOLERANCE = 0.003  # mAP that more shrinkage, or camera means, may cost
MIN_IMAGES_FOR_NEIGHBOURS = 1.2  # of a person; fewer leave rows no neighbour of their person
FOLDS_AT_ONCE = 2  # on as many cores
GIVE_UP = 0.03  # mAP, summed over folds, by which a candidate may trail before it is given up


@dataclass(frozen=True)
class Chosen:
    """The settings chosen, and the held-out mAP of each fold: theirs and the baseline's.

    seen:   whether the network was trained on these identities.
    images: of a person in the folds' galleries.
    within, between: histograms of the similarities of their pairs, after the metric chosen.
    """

    settings: ClosedFormSettings
    scores: np.ndarray
    baseline: np.ndarray
    inflation: float
    seen: bool
    images: float
    within: Tensor
    between: Tensor

    @property
    def mean_ap(self) -> float:
        """The held-out mAP, a mean over folds."""
        return float(self.scores.mean())

    @property
    def gain(self) -> tuple[float, float]:
        """The gain over the baseline and its standard error, in mAP."""
        difference = self.scores - self.baseline
        return float(difference.mean()), standard_error(difference)


class Search:
    """Coordinates in turn: the metric with the aggregation fixed, then the other way round."""

    def __init__(
        self,
        folds: Sequence[Fold],
        *,
        camera_aware: CameraAware,
        neighbours: int | None = None,
        task: Task | None = None,
    ) -> None:
        self.levels: list[Sequence[Fold]] = [folds]
        self.cameras, self.task = camera_aware != "off", task
        self.centres = {
            "auto": ("none", "global", "camera"),
            "on": ("camera",),
            "off": ("none", "global"),
        }[camera_aware]
        self.ks: tuple[int, ...] = NEIGHBOURS if neighbours is None else (neighbours,)
        if neighbours is None and max(fold.images for fold in folds) < MIN_IMAGES_FOR_NEIGHBOURS:
            self.ks = ()  # whatever neighbours gained, they were other persons
        self.alone = neighbours is None or neighbours == 1
        self.pool = ThreadPoolExecutor(FOLDS_AT_ONCE)

    def scores(self, settings: ClosedFormSettings) -> np.ndarray:
        """Return the mAP of each fold, a mean over the levels of difficulty."""
        each = [[fold.mean_ap(settings) for fold in level] for level in self.levels]
        return np.mean(each, axis=0)

    def best(
        self, current: ClosedFormSettings, changes: Iterable[dict[str, Any]]
    ) -> ClosedFormSettings:
        """Return the best of the current settings and the changed ones."""
        found, score = current, float(self.scores(current).mean())
        for change in changes:
            settings = replace(current, **change)
            if self._beats(settings, found):
                found, score = settings, float(self.scores(settings).mean())
            if self.task is not None:
                self.task.advance(held_out_mAP=score)
        return found

    def _beats(self, settings: ClosedFormSettings, rival: ClosedFormSettings) -> bool:
        """Return whether settings have the higher mean; given up early where they clearly trail."""
        lead, levels = 0.0, len(self.levels)
        for start in range(0, len(self.levels[0]), FOLDS_AT_ONCE):
            folds = [fold for level in self.levels for fold in level[start : start + FOLDS_AT_ONCE]]
            lead += (
                sum(self.pool.map(lambda fold: _ahead(fold, settings, rival=rival), folds)) / levels
            )
            if lead < -GIVE_UP:
                return False
        return lead > 0

    def run(
        self, start: ClosedFormSettings | None = None, *, sweeps: int = SWEEPS
    ) -> ClosedFormSettings:
        """Start from the best of the known closed forms, or from `start`, and improve it."""
        current = self.best(start or self._start(), self._starts())
        for _ in range(sweeps):
            before = current
            current = self.best(current, self._aggregations())
            current = self.best(current, self._metrics())
            if current.neighbours > 1:
                current = self.best(current, self._details())
            if current == before:
                break
        return current

    def harder(self, settings: ClosedFormSettings) -> float:
        """Add levels on which held-out identities are spread wider; returns the widest factor."""
        plain, factor = self.levels[0], 1.0
        value = float(self.scores(settings).mean())
        while value > SATURATED and factor * STEP <= WIDEST:
            factor *= STEP
            widest = [fold.inflated(factor) for fold in plain]
            value = float(np.mean([fold.mean_ap(settings) for fold in widest]))
        if factor > 1:
            self.levels = [plain, [fold.inflated(factor**0.5) for fold in plain], widest]
        return factor

    def averaged(self, settings: ClosedFormSettings) -> ClosedFormSettings:
        """Return the settings with the mean of the metrics that are as good within their error.

        Those that shape nothing go before others: what shaping gains on a few held-out identities
        does not last.
        """
        if settings.centre == "none":
            return settings
        folds = self.levels[0]
        tried = {}
        for pair in METRICS:
            score_fold = partial(_scored, _in_metric(settings, pair))
            tried[pair] = np.array(list(self.pool.map(score_fold, folds)))
            if self.task is not None:
                self.task.advance()
        best = max(tried.values(), key=lambda scores: float(scores.mean()))
        close = [
            pair
            for pair, scores in tried.items()
            if (best - scores).mean() <= max(TOLERANCE, standard_error(best - scores))
        ]
        plain = [pair for pair in close if not pair[1]] or close
        some = plain[:: -(-len(plain) // MOST_AVERAGED)]
        return replace(_in_metric(settings, some[0]), averaged=tuple(some) if len(some) > 1 else ())

    def aware(self, settings: ClosedFormSettings, *, bound: float) -> ClosedFormSettings:
        """Return the settings with camera means where held-out identities lose little by them.

        Whitening makes up for the cameras of training; means make up for those of any gallery.
        bound: mAP that they may cost.
        """
        if settings.centre == "camera" or "camera" not in self.centres:
            return settings
        aware = replace(settings, centre="camera")
        lost = self.scores(settings) - self.scores(aware)
        return aware if lost.mean() <= bound else settings

    def simplest(self, settings: ClosedFormSettings) -> ClosedFormSettings:
        """Return the settings without neighbours where these gain no more than their error."""
        if settings.neighbours == 1 or not self.alone:
            return settings
        alone = replace(settings, **ALONE)
        gained = self.scores(settings) - self.scores(alone)
        return alone if gained.mean() <= max(TOLERANCE, standard_error(gained)) else settings

    def _start(self) -> ClosedFormSettings:
        return ClosedFormSettings(
            centre=self.centres[0],  # type: ignore[arg-type]  # one of Centre
            neighbours=1 if self.alone else self.ks[0],
        )

    def _starts(self) -> Iterable[dict[str, Any]]:
        metrics: list[dict[str, Any]] = [
            {"centre": centre, "shrinkage": 1.0, "between": 0.0} for centre in self.centres
        ]
        metrics += [
            {"centre": centre, "shrinkage": 0.6, "between": between}
            for centre in self.centres
            for between in (0.0, 3.0)
            if centre != "none"
        ]
        few = [k for k in self.ks if k in (4, 12)] or list(self.ks)
        sums: list[dict[str, Any]] = [{"neighbours": 1}] if self.alone else []
        sums += [{"neighbours": k} for k in few]
        sums += [{"neighbours": few[0], "per_camera": True}] if self.cameras and few else []
        return [{**one, **other} for one in metrics for other in sums]

    def _aggregations(self) -> Iterable[dict[str, Any]]:
        if self.alone:
            yield ALONE
        for k in self.ks:
            for per_camera in (False, True) if self.cameras else (False,):
                for layers in (1, 2):
                    for sharpness in (0.0, 2.5):
                        yield {
                            "neighbours": k,
                            "per_camera": per_camera,
                            "sharpness": sharpness,
                            "layers": layers,
                        }

    def _metrics(self) -> Iterable[dict[str, Any]]:
        for centre in self.centres:
            yield {"centre": centre, "shrinkage": 1.0, "between": 0.0}
            for shrinkage in SHRINKAGES if centre != "none" else ():
                for between in BETWEENS:
                    yield {"centre": centre, "shrinkage": shrinkage, "between": between}

    def _details(self) -> Iterable[dict[str, Any]]:
        yield from ({"sharpness": sharpness} for sharpness in SHARPNESSES)
        yield from ({"layers": layers} for layers in (1, 2, 3))


def _in_metric(settings: ClosedFormSettings, pair: tuple[float, float]) -> ClosedFormSettings:
    return replace(settings, shrinkage=pair[0], between=pair[1], averaged=())


def _scored(settings: ClosedFormSettings, fold: Fold) -> float:
    return fold.mean_ap(settings)


def _ahead(fold: Fold, settings: ClosedFormSettings, *, rival: ClosedFormSettings) -> float:
    return fold.mean_ap(settings) - fold.mean_ap(rival)


def choose_closed_form(
    folds: Sequence[Fold],
    *,
    camera_aware: CameraAware = "auto",
    neighbours: int | None = None,
    seen: bool = False,
    task: Task | None = None,
) -> Chosen:
    """Choose the closed form that ranks held-out training identities best.

    camera_aware: whether camera ids may be used, must be (their means), or must not be.
    neighbours:   a fixed k; None: chosen too.
    seen:         whether the network was trained on these identities; it is taken to be where they
                  are ranked almost without fault, too.
    Where held-out identities are ranked almost without fault, as those are that a backbone was
    trained on, they are spread wider and the choice is made anew, over all degrees of spread.
    """
    search = Search(folds, camera_aware=camera_aware, neighbours=neighbours, task=task)
    found = search.run()
    factor = search.harder(found)
    if factor > 1:
        found = search.run(found, sweeps=1)
    found = search.simplest(found)
    plain = search.levels[0]
    baseline = np.array([fold.mean_ap(ClosedFormSettings()) for fold in plain])
    seen = seen or looks_seen(float(baseline.mean()))
    found = search.aware(found, bound=SEEN_TOLERANCE if seen else TOLERANCE)
    found = search.averaged(found)
    scores = np.array([fold.mean_ap(found) for fold in plain])
    images = float(np.mean([fold.images for fold in plain]))
    pairs = [fold.pair_similarities(found) for fold in plain]
    within, between = (torch.cat(part) for part in zip(*pairs, strict=True))
    return Chosen(
        found, scores, baseline, factor, seen, images, histogram(within), histogram(between)
    )


def looks_seen(mean_ap: float) -> bool:
    """Return whether identities are ranked so well that the network must know them.

    mean_ap: of held-out identities, with the embeddings as they are.
    """
    return mean_ap > SEEN_IDENTITIES


def standard_error(values: np.ndarray) -> float:
    """Return the standard error of a mean over folds."""
    return float(values.std() / max(1, len(values)) ** 0.5)
