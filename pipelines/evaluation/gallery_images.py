"""How many images of each person a gallery has, estimated from training identities, or untold."""

import numpy as np
import torch
from torch import Tensor

from ..embeddings import Embeddings
from ..gallery.calibration import some_identities
from ..neighbours.checked import unit_rows
from ..ranking.metrics import score
from ..refiners.closed_form import ClosedForm, ClosedFormSettings, camera_ids
from ..refiners.fitting import TrainingRows, fit_closed_form
from ..refiners.images_per_person import histogram, images_per_person
from ..training.folds import identity_splits
from ..training.selection import looks_seen

PLAN = ((2, 2),)  # halves of the training identities, twice
SAMPLED = 1500  # training rows whose pairs are looked at
# As they are, similarities of one person and of two overlap too much to be told apart.
METRIC = ClosedFormSettings(centre="camera", shrinkage=0.6)
SEEN = (
    "the network {was} trained on the training identities, so its embeddings of them are more alike"
    " than those of others"
)


def estimated_images(
    train: Embeddings, gallery: Embeddings, *, seed: int, seen: bool
) -> tuple[float | None, str]:
    """Return how many images of each person a gallery has; or None, and why it cannot be told.

    A metric is fitted on one half of the training identities. The other half shows how similar in
    it are two images of one person, and of two; the gallery's similarities are a mixture of these
    (`images_per_person`). The geometric mean over halves is taken.

    seen: whether the network was trained on these identities.
    """
    if seen:
        return None, SEEN.format(was="was")
    found, ranked = [], []
    for split in identity_splits(train.pids, train.camids, seed=seed, plan=PLAN):
        held_out, fit = train.select(~split.fit), train.select(split.fit)
        ranked.append(score(train.select(split.query), train.select(split.gallery)).mean_ap)
        rows = TrainingRows.of(fit.features, fit.pids, camids=fit.camids)
        form = fit_closed_form(rows, METRIC)
        same, other = _pairs(form, some_identities(held_out, most=SAMPLED, seed=seed))
        if len(same):
            rows_there = _standardised(form, gallery)
            found.append(images_per_person(rows_there, histogram(same), between=histogram(other)))
    if not found:
        return None, "no held-out training identity has a match"
    if looks_seen(float(np.mean(ranked))):
        return None, SEEN.format(was="seems to have been")
    told = [one for one in found if one is not None]
    if not told:
        return None, "its similarities spread otherwise than the training set's"
    return float(np.exp(np.mean(np.log(told)))), ""


def _pairs(form: ClosedForm, items: Embeddings) -> tuple[Tensor, Tensor]:
    """Return the similarities of pairs of one person, and of two."""
    rows, pids = _standardised(form, items), torch.from_numpy(items.pids)
    first, second = torch.triu_indices(len(rows), len(rows), 1)
    similarity, same = (rows @ rows.T)[first, second], pids[first] == pids[second]
    return similarity[same], similarity[~same]


def _standardised(form: ClosedForm, items: Embeddings) -> Tensor:
    rows = torch.from_numpy(unit_rows(items.features, "embeddings"))
    camids = camera_ids(items.camids, len(items), device="cpu")
    return form.standardise(rows, camids, means=form.means(rows, camids))
