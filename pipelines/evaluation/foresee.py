"""embeddings -> what refinement should bring, foreseen without any label of the test set"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..artifacts.embeddings import load_embeddings, open_embeddings, splits_in
from ..artifacts.run import Run
from ..data.subsampling import drawing_order
from ..embeddings import Embeddings
from ..errors import BadInput
from ..gallery.calibration import some_identities
from ..neighbours.checked import unit_rows
from ..neighbours.graph import Neighbourhoods
from ..ranking.matches import Matches
from ..ranking.metrics import score
from ..refiners.chain import refine_chain
from ..refiners.images_per_person import histogram, share_of_one_person
from ..seeding import numpy_generator
from ..training.folds import identity_splits

PLAN = ((2, 2),)  # halves of the training identities, twice
SAMPLED = 1500  # training rows whose pairs are looked at
LARGEST = 2000  # rows of a set that are compared with all others
FEW, ENOUGH = 2.0, 4.0  # estimated images of a person: nobody to read below, safe above
SPREADS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
LEAST = 0.005  # mAP, the smallest gain worth the name


@dataclass(frozen=True)
class Foresight:
    """What to expect of refinement.

    images: of each person in the gallery, estimated; None without training identities.
    gain:   of reading neighbours in mAP, with its standard error; None where it was not tried.
    fitted: of whitening that is fitted on training identities, likewise.
    """

    images: float | None
    gain: float | None = None
    error: float = 0.0
    fitted: float | None = None
    fitted_error: float = 0.0

    def describe(self) -> str:
        """Return the line that `--will-it-help` prints."""
        return f"Will it help? {self._neighbours()}{self._whitening()}"

    def _whitening(self) -> str:
        if self.fitted is None:
            return ""
        told = f"{100 * self.fitted:+z.1f} ± {100 * self.fitted_error:.1f} mAP"
        return f" Whitening fitted on one half of the training identities: {told} on the other."

    def _neighbours(self) -> str:
        if self.images is None:
            return (
                "Not known: without training identities of several images there is "
                "nothing to go by. "
                "Refinement pays where a person has several gallery images, and not with one."
            )
        few = f"{float(f'{self.images:.2g}'):,g}"  # 140 and not 1.4e+02
        number = "at most one image" if self.images < 1 else f"about {few} images"
        seen = f"the gallery has {number} of each person (estimated without labels)"
        if self.images < FEW:
            return f"Expect nothing of neighbours: {seen}."
        if self.gain is None:
            return f"It may: {seen}; no held-out identity has a match to try it on."
        tried = (
            "mutual neighbours averaged, tried on training identities with as many images and "
            f"made as hard: {100 * self.gain:+z.1f} ± {100 * self.error:.1f} mAP"
        )
        if self.gain < max(LEAST, self.error):
            return f"Expect nothing of neighbours: {seen}; {tried}."
        if self.images < ENOUGH:
            return (
                f"Uncertain: {seen}, and the estimate may be off by a factor of two, "
                f"so there may be hardly anybody to read; {tried}."
            )
        return f"Expect a gain: {seen}; {tried}."

    def figures(self) -> dict[str, float]:
        """Return the numbers, those that there are."""
        found = {"estimated": self.images, "foreseen": self.gain, "whitened": self.fitted}
        return {name: value for name, value in found.items() if value is not None}


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
    seen = "backbone.pt" in run.require_manifest("embeddings.h5").inputs
    return foresee(parts.get("train"), parts["query"], gallery=parts["gallery"], seen=seen)


def foresee(
    train: Embeddings | None,
    query: Embeddings,
    *,
    gallery: Embeddings,
    seed: int = 0,
    seen: bool = False,
) -> Foresight:
    """Say what refinement should bring to a query and a gallery, from training identities.

    The number of images of a person comes from the similarities of queries and gallery items, a
    mixture of those of one person and of two. Then neighbours are averaged on held-out training
    identities that have as many images each, spread about their means until queries are as near
    to their nearest gallery item as the test set's are. What needs no neighbours is tried too:
    whitening, fitted on the other half of the training identities.

    seen: whether the network was trained on these identities: it draws them together as it never
          will others, and what whitening makes of them says nothing.
    """
    if train is None or len(np.unique(train.pids)) < 4 or not len(gallery):
        return Foresight(None)
    same, other = _pairs(_some_people(train, seed))
    if not len(same) or not len(other):
        return Foresight(None)
    within, between = histogram(same), histogram(other)
    images = images_of_a_query(query, gallery, within=within, between=between, seed=seed)
    wanted = nearness(query, gallery, seed=seed)
    gains, fitted = [], []
    for fit, *trial in _trials(train, max(2, round(images)), seed=seed):
        as_hard = _as_hard(*trial, wanted=wanted, seed=seed)
        if not seen:
            fitted.append(_gain(*as_hard, refiner="whiten", train=fit))
        if images >= FEW:
            gains.append(_gain(*as_hard, refiner="nfc"))
    return Foresight(images, *_mean(gains), *_mean(fitted))


def _mean(gains: Sequence[float]) -> tuple[float | None, float]:
    """Return a mean and its standard error; None where there is nothing."""
    if not gains:
        return None, 0.0
    return float(np.mean(gains)), float(np.std(gains) / len(gains) ** 0.5)


def images_of_a_query(
    query: Embeddings, gallery: Embeddings, *, within: Tensor, between: Tensor, seed: int = 0
) -> float:
    """Estimate how many gallery items show a query's person, without labels.

    within, between: histograms of the similarities of pairs of one person, and of two. Those of
    queries and gallery items are a mixture; its weight says how many pairs are of one person.
    """
    asking, items = _some(query, LARGEST, seed=seed), _some(gallery, LARGEST, seed=seed)
    similarity = unit_rows(asking.features, "query") @ unit_rows(items.features, "gallery").T
    pairs = histogram(torch.from_numpy(similarity))
    return share_of_one_person(pairs, within, between=between) * len(gallery)


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


def _trials(
    train: Embeddings, images: int, *, seed: int
) -> Iterator[tuple[Embeddings, Embeddings, Embeddings]]:
    """Yield identities to fit on, and others' queries and galleries of so many images each."""
    for split in identity_splits(train.pids, train.camids, seed=seed, plan=PLAN):
        query, gallery = train.select(split.query), train.select(split.gallery)
        gallery = gallery.select(drawing_order(gallery.pids, seed) < images)
        if Matches(query, gallery).any_valid():
            yield train.select(split.fit), query, gallery


def _as_hard(
    query: Embeddings, gallery: Embeddings, *, wanted: float, seed: int
) -> tuple[Embeddings, Embeddings]:
    """Return a query and a gallery spread until queries are as near to the gallery as wanted."""
    tries = [spread_together([query, gallery], factor=by) for by in SPREADS]
    apart = [abs(nearness(one[0], one[1], seed=seed) - wanted) for one in tries]
    as_hard = tries[int(np.argmin(apart))]
    return as_hard[0], as_hard[1]


def _gain(
    query: Embeddings, gallery: Embeddings, *, refiner: str, train: Embeddings | None = None
) -> float:
    near = Neighbourhoods(query, gallery, device="cpu")
    refined = refine_chain((refiner,), near, train=train)
    return score(*refined).mean_ap - score(query, gallery).mean_ap


def _some(items: Embeddings, most: int, *, seed: int) -> Embeddings:
    if len(items) <= most:
        return items
    chosen = numpy_generator(seed, "some rows").choice(len(items), most, replace=False)
    return items.select(np.sort(chosen))


def _some_people(train: Embeddings, seed: int) -> Embeddings:
    """Return about SAMPLED rows of whole identities: of rows drawn singly few are of one person."""
    people = some_identities(train, most=SAMPLED, seed=seed)
    return people if len(np.unique(people.pids)) > 1 else _some(train, SAMPLED, seed=seed)


def _pairs(train: Embeddings) -> tuple[Tensor, Tensor]:
    """Return the similarities of pairs of one person, and of two."""
    rows, pids = torch.from_numpy(unit_rows(train.features, "train")), torch.from_numpy(train.pids)
    first, second = torch.triu_indices(len(rows), len(rows), 1)
    similarity, same = (rows @ rows.T)[first, second], pids[first] == pids[second]
    return similarity[same], similarity[~same]
