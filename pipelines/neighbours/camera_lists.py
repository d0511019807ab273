"""Nearest neighbours inside each item's own camera, and in all the other cameras."""

import numpy as np

from ..embeddings import Embeddings
from ..errors import BadInput
from .checked import own_first
from .exact import top_k
from .self_join import self_join


def own_camera_lists(rows: np.ndarray, camids: np.ndarray, *, k: int) -> np.ndarray:
    """Return each unit row's k nearest within its camera, itself first: [N, k], -1 for none."""
    lists = np.full((len(rows), k), -1, np.int64)
    for camera in np.unique(camids):
        own = np.flatnonzero(camids == camera)
        found = self_join(rows[own], min(k, len(own)))
        own_first(found.similarity, found.index)
        lists[own, : found.index.shape[1]] = own[found.index]
    return lists


def other_camera_lists(
    rows: np.ndarray,
    camids: np.ndarray,
    *,
    k: int,
    others: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest of each unit row among other cameras' rows, -1 for none.

    others: unit rows and camids to search in; None: the set itself.
    returns: similarity [N, k] float32 (0 where there is none) and index [N, k] int64.
    """
    targets, target_camids = others or (rows, camids)
    similarity = np.zeros((len(rows), k), np.float32)
    index = np.full((len(rows), k), -1, np.int64)
    for camera in np.unique(camids):
        own, other = np.flatnonzero(camids == camera), np.flatnonzero(target_camids != camera)
        width = min(k, len(other))
        if width:
            found, columns = top_k(rows[own], targets[other], k=width)
            similarity[own, :width], index[own, :width] = found, other[columns]
    return similarity, index


def require_cameras(what: str, *items: Embeddings) -> None:
    """Raise BadInput unless every item's camera is known."""
    for side in items:
        if (side.camids < 0).any():
            raise BadInput(
                f"{what} needs the camera of every item; {int((side.camids < 0).sum())} of "
                f"{len(side)} have none (-1)"
            )
