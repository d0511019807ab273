"""Camera centring (`camera`): subtract the mean embedding of each item's camera.

A camera's light, angle and background shift all of its embeddings the same way; what its images
share says nothing about who is in them. The first step of the profile vectors of Zhang et al.
(arXiv 2306.08792, section III-D), without their projection.

Cost: O((Q + G) d).
"""

import numpy as np

from ..embeddings import Embeddings
from ..neighbours.camera_lists import require_cameras
from ..neighbours.graph import Neighbourhoods
from .base import Pair, RefineProtocol, both_rows, with_rows


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
    return with_rows(
        near,
        query - camera_means(seen, camids, items.camids),
        gallery - camera_means(seen, camids, others.camids),
    )


def camera_means(rows: np.ndarray, camids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the mean row of each wanted camera: [M, d]; of all rows where a camera has none."""
    cameras, place = np.unique(camids, return_inverse=True)
    means = np.stack([rows[place == number].mean(axis=0) for number in range(len(cameras))])
    known = np.isin(wanted, cameras)
    found = means[np.searchsorted(cameras, wanted).clip(0, len(cameras) - 1)]
    return np.where(known[:, None], found, rows.mean(axis=0))
