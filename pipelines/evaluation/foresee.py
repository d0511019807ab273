"""embeddings -> what refinement should bring, foreseen without any label of the test set"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..artifacts.embeddings import (
    load_embeddings,
    open_embeddings,
    saw_training_identities,
    splits_in,
)
from ..artifacts.run import Run
from ..data.subsampling import drawing_order
from ..embeddings import Embeddings
from ..errors import BadInput
from ..neighbours.checked import unit_rows
from ..ranking.matches import Matches
from ..seeding import numpy_generator
from ..training.folds import identity_splits
from .gallery_images import PLAN, estimated_images
from .recommend import Trial, domain_of, tried

LARGEST = 2000  # rows of a set whose nearest others are looked for
FEWEST = 2  # images of a person that neighbours are tried with
AMOUNTS = (2, 4, 8, 16)  # tried where their number cannot be told
FEW, ENOUGH = 2.0, 4.0  # estimated images of a person: nobody to read below, safe above
SPREADS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
LEAST = 0.005  # mAP, the smallest gain worth the name


@dataclass(frozen=True)
class Gain:
    """A difference of mAP over trials, and its standard error."""

    mean: float
    error: float

    @staticmethod
    def mean_of(values: Sequence[float]) -> "Gain":
        """Return the mean over trials, one at least."""
        return Gain(float(np.mean(values)), float(np.std(values) / len(values) ** 0.5))

    @property
    def pays(self) -> bool:
        """Whether it is more than its error, and worth the name."""
        return self.mean >= max(LEAST, self.error)

    def __str__(self) -> str:
        return f"{100 * self.mean:+z.1f} ± {100 * self.error:.1f}"


@dataclass(frozen=True)
class Foresight:
    """What to expect of refinement.

    images: of each person in the gallery, estimated or given; None: it cannot be told.
    why:    it cannot be told, where it cannot.
    gains:  of reading neighbours, by the images of each person that it was tried with.
    fitted: the gain of whitening that is fitted on training identities; None: not tried.
    """

    images: float | None
    why: str = ""
    gains: Mapping[int, Gain] = field(default_factory=dict)
    fitted: Gain | None = None

    def describe(self) -> str:
        """Return the line that `--will-it-help` prints."""
        neighbours = self._untold() if self.images is None else self._neighbours(self.images)
        return f"Will it help? {neighbours}{self._whitening()}"

    def _whitening(self) -> str:
        if self.fitted is None:
            return ""
        return (
            f" Whitening fitted on one half of the training identities: {self.fitted} mAP on the "
            "other."
        )

    def _untold(self) -> str:
        told = f"How many images of each person the gallery has cannot be told: {self.why}."
        if not self.gains:
            return told
        figures = ", ".join(f"{gain} mAP with {images}" for images, gain in self.gains.items())
        pays = [images for images, gain in self.gains.items() if gain.pays]
        verdict = (
            f"Expect a gain from {pays[0]} images on" if pays else "Expect nothing of neighbours"
        )
        return (
            f"{told} {verdict}: mutual neighbours averaged, tried on training identities made as "
            f"hard, with so many gallery images of each: {figures}."
        )

    def _neighbours(self, images: float) -> str:
        few = f"{float(f'{images:.2g}'):,g}"  # 140 and not 1.4e+02
        word = "image" if few == "1" else "images"
        seen = f"the gallery has about {few} {word} of each person (estimated without labels)"
        if images < FEW:
            return f"Expect nothing of neighbours: {seen}."
        if not self.gains:
            return f"It may: {seen}; no held-out identity has a match to try it on."
        (gain,) = self.gains.values()
        figures = (
            "mutual neighbours averaged, tried on training identities with as many images and "
            f"made as hard: {gain} mAP"
        )
        if not gain.pays:
            return f"Expect nothing of neighbours: {seen}; {figures}."
        if images < ENOUGH:
            return (
                f"Uncertain: {seen}, and the estimate may be off by a factor of two, "
                f"so there may be hardly anybody to read; {figures}."
            )
        return f"Expect a gain: {seen}; {figures}."

    def figures(self) -> dict[str, Any]:
        """Return the numbers, those that there are: images, and gains in mAP."""
        found: dict[str, Any] = {} if self.images is None else {"estimated": self.images}
        if self.images is None and self.gains:
            found["foreseen_by_images"] = {str(one): gain.mean for one, gain in self.gains.items()}
        elif self.gains:
            found["foreseen"] = next(iter(self.gains.values())).mean
        return found if self.fitted is None else found | {"whitened": self.fitted.mean}


def will_it_help(run: Run) -> Foresight:
    """Return what refinement should bring to a run's query and gallery.

    Raises:
        MissingArtifact, StaleArtifact: embeddings.h5, with the command for it.
    """
    path = run.artifact("embeddings.h5")
    with open_embeddings(path) as file:
        splits = splits_in(file)
    parts = {name: load_embeddings(path, name).without_junk() for name in splits}
    if "query" not in parts or "gallery" not in parts:
        raise BadInput(f"{path} has {', '.join(splits)}; query and gallery are wanted")
    seen = saw_training_identities(run)
    return foresee(parts.get("train"), parts["query"], gallery=parts["gallery"], seen=seen)


def foresee(
    train: Embeddings | None,
    query: Embeddings,
    *,
    gallery: Embeddings,
    images: float | None = None,
    seed: int = 0,
    seen: bool = False,
) -> Foresight:
    """Say what refinement should bring to a query and a gallery, from training identities.

    Neighbours are averaged on held-out training identities that have as many images each, spread
    about their means until queries are as near to their nearest gallery item as the test set's
    are. What needs no neighbours is tried too: whitening, fitted on the other half of the training
    identities.

    images: of each person in the gallery; None: estimated, and where they cannot be told,
            neighbours are tried with several numbers of images.
    seen:   whether the network was trained on these identities: it draws them together as it never
            will others, so they do not tell how alike two images of a person are, nor what
            whitening makes of others.
    """
    if train is None or len(np.unique(train.pids)) < 4 or not len(gallery):
        return Foresight(None, "there are fewer than four training identities to go by")
    domain = domain_of(train, gallery)
    if domain.foreign:
        return Foresight(None, f"the gallery does not look like the training set ({domain.short})")
    why = ""
    if images is None:
        images, why = estimated_images(train, gallery, seed=seed, seen=seen)
    wanted, gains, fitted = nearness(query, gallery, seed=seed), dict[int, Gain](), None
    for amount in AMOUNTS if images is None else [max(FEWEST, round(images))]:
        trials = list(_trials(train, amount, seed=seed))
        if not trials or (gains and not any(_holds(one, amount) for one in trials)):
            break  # training identities have no more images
        hard = [_as_hard(one, wanted=wanted, seed=seed) for one in trials]
        if images is None or images >= FEW:
            gains[amount] = _gain(hard, "nfc")
        if fitted is None and not seen:
            fitted = _gain(hard, "whiten")
    return Foresight(images, why, gains, fitted)


def nearness(query: Embeddings, gallery: Embeddings, *, seed: int = 0) -> float:
    """Return the mean cosine of a query, or of a sample of them, and its nearest gallery item."""
    asking = unit_rows(_some(query, LARGEST, seed=seed).features, "query")
    items = unit_rows(_some(gallery, LARGEST, seed=seed).features, "gallery")
    return float((asking @ items.T).max(axis=1).mean())


def spread_together(parts: Sequence[Embeddings], *, factor: float) -> list[Embeddings]:
    """Return sets with rows `factor` times as far from their identity's mean over all of them."""
    if factor == 1:
        return list(parts)
    rows = unit_rows(np.concatenate([part.features for part in parts]), "embeddings")
    pids = np.concatenate([part.pids for part in parts])
    means = {int(pid): rows[pids == pid].mean(axis=0) for pid in np.unique(pids)}
    return [spread(part, means, factor=factor) for part in parts]


def spread(items: Embeddings, means: dict[int, np.ndarray], *, factor: float) -> Embeddings:
    """Return items `factor` times as far from their identities' means."""
    rows = unit_rows(items.features, "embeddings")
    middle = np.stack([means[int(pid)] for pid in items.pids])
    return items.with_features(middle + factor * (rows - middle))


def _trials(train: Embeddings, images: int, *, seed: int) -> Iterator[Trial]:
    """Yield trials on training identities of so many gallery images each, or all that they have."""
    for split in identity_splits(train.pids, train.camids, seed=seed, plan=PLAN):
        query, gallery = train.select(split.query), train.select(split.gallery)
        gallery = gallery.select(drawing_order(gallery.pids, seed) < images)
        if Matches(query, gallery).any_valid():
            yield Trial(train.select(split.fit), query, gallery)


def _holds(trial: Trial, images: int) -> bool:
    """Return whether a trial's gallery has so many images of a person, on average."""
    return len(trial.gallery) >= images * len(np.unique(trial.gallery.pids))


def _as_hard(trial: Trial, *, wanted: float, seed: int) -> Trial:
    """Return a trial spread until queries are as near to the gallery as wanted."""
    tries = [spread_together([trial.query, trial.gallery], factor=by) for by in SPREADS]
    apart = [abs(nearness(one[0], one[1], seed=seed) - wanted) for one in tries]
    return Trial(trial.fit, *tries[int(np.argmin(apart))])


def _gain(trials: Sequence[Trial], refiner: str) -> Gain:
    """Return what a refiner gains in mAP."""
    return Gain.mean_of([tried(one, (refiner,)) - tried(one, ()) for one in trials])


def _some(items: Embeddings, most: int, *, seed: int) -> Embeddings:
    if len(items) <= most:
        return items
    chosen = numpy_generator(seed, "some rows").choice(len(items), most, replace=False)
    return items.select(np.sort(chosen))
