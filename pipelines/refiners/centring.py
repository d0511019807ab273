"""Centring: subtract the mean of the set, or of each item's camera (the refiner `camera`).

A camera's light, angle and background shift all of its embeddings the same way; what its images
share says nothing about who is in them. The first step of the profile vectors of Zhang et al.
(arXiv 2306.08792, section III-D), without their projection. Arrays are numpy's or torch's.

Cost: O((Q + G) d).
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..embeddings import Embeddings, row_blocks
from ..neighbours.camera_lists import require_cameras
from ..neighbours.graph import Neighbourhoods
from ..neighbours.reciprocity import library_of
from .base import Pair, RefineProtocol, both_rows, with_rows

Centring = Literal["none", "global", "camera"]
WEIGHT_OF_TRAINING = 1.0  # rows that a training mean counts for beside a set's own rows
BLOCK_ROWS = 16384


@dataclass(frozen=True, eq=False)
class Means:
    """What is subtracted from the rows of a set and of those that join it.

    centre: [d] float64.   cameras: [C] int64, sorted.   means: [C, d] float64, a camera's each.
    """

    centre: Any
    cameras: Any
    means: Any

    def of(self, camids: Any) -> Any:
        """Return each row's mean: [N] -> [N, d]; an unknown camera's is that of the set."""
        library = library_of(camids)
        if not len(self.cameras):
            return library.broadcast_to(self.centre, (len(camids), len(self.centre)))
        place = library.searchsorted(self.cameras, camids).clip(0, len(self.cameras) - 1)
        known = self.cameras[place] == camids
        return library.where(known[:, None], self.means[place], self.centre)


def fit_means(
    rows: Any, camids: Any, *, centring: Centring = "camera", training: Means | None = None
) -> Means:
    """Return the means of a set of rows [N, d] with cameras [N] int64, -1 where unknown.

    training: those of the training rows. The set's mean counts the training mean as one more row,
    and a camera's mean counts the set's. A camera that is not in the set has its training mean,
    moved as far as the cameras in both have moved since.
    """
    library = library_of(rows)
    centre = mean_row(rows, expected=None if training is None else training.centre)
    none = camids[:0], library.zeros_like(centre)[None][:0]
    if centring == "none":
        return Means(library.zeros_like(centre), *none)
    here = library.unique(camids[camids >= 0])  # sorted
    if centring == "global" or not len(here):
        return Means(centre, *none)
    expected = None if training is None else centre
    found = library.stack(
        [mean_row(rows[camids == camera], expected=expected) for camera in here.tolist()]
    )
    if training is None:
        return Means(centre, here, found)
    shared = library.isin(training.cameras, here)
    moved = library.zeros_like(centre)
    if shared.any():
        before = training.means[shared]
        moved = (found[library.isin(here, training.cameras)] - before).mean(0)
    cameras = library.concatenate([here, training.cameras[~shared]])
    means = library.concatenate([found, training.means[~shared] + moved])
    order = library.argsort(cameras)
    return Means(centre, cameras[order], means[order])


def mean_row(rows: Any, *, expected: Any = None) -> Any:
    """Return the mean of rows [N, d] as [d] float64, with `expected` counting as one row more."""
    double = library_of(rows).float64
    blocks = row_blocks(len(rows), BLOCK_ROWS)
    total = sum((rows[part].sum(0, dtype=double) for part in blocks), rows[:0].sum(0, dtype=double))
    if expected is None:
        return total / len(rows)
    return (total + WEIGHT_OF_TRAINING * expected) / (len(rows) + WEIGHT_OF_TRAINING)


def centre_cameras(
    near: Neighbourhoods,
    *,
    protocol: RefineProtocol = "isolated",
    train: Embeddings | None = None,
) -> Pair:
    """Return both sets with each camera's mean subtracted.

    isolated: the means are the gallery's, for queries too; joint: those of both sets. A camera
    that the set of the means has no image of gets the mean of all its images.

    Raises:
        BadInput: an item whose camera is not known.
    """
    items, others = near.query_items, near.gallery_items
    require_cameras("camera", items, others)
    query, gallery = both_rows(near)
    seen, camids = gallery, others.camids
    if protocol == "joint":
        seen = np.concatenate([query, gallery])
        camids = np.concatenate([items.camids, others.camids])
    means = fit_means(seen, camids)
    return with_rows(
        near, query - means.of(items.camids), gallery=gallery - means.of(others.camids)
    )
