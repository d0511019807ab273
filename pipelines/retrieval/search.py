"""Nearest neighbours by cosine: on NumPy, FAISS (GPU or CPU) or torch, behind one call."""

import logging
from typing import Any

import numpy as np

from ..embeddings import as_numpy, require_finite
from ..errors import BadInput
from ..progress import Progress, Silent
from . import exact

METHODS = ("auto", "numpy", "torch", "faiss")
GPU_MOST = 2048  # the longest list that FAISS returns on a GPU
log = logging.getLogger("nformer")


def search(
    query: Any,
    gallery: Any,
    k: int,
    *,
    device: str = "auto",
    method: str = "auto",
    progress: Progress | None = None,
) -> tuple[Any, Any]:
    """Return the k gallery rows most similar to each query row, most similar first.

    query: [Q, d], gallery: [G, d], numpy or torch; rows need not be normalised.
    k: clipped to G.
    returns: cosine similarity [Q, k] float32 and index [Q, k] int64, of the kind that came in
        (tensors on the query's device); equal similarities stand in the gallery's order.

    Raises:
        BadInput: an empty gallery, k below 1, other widths, rows with NaN, an unknown method.
    """
    progress = progress or Silent()
    rows, columns = unit_rows(query, "query"), unit_rows(gallery, "gallery")
    if rows.shape[1] != columns.shape[1]:
        raise BadInput(
            f"the query's embeddings are {rows.shape[1]} wide, the gallery's {columns.shape[1]}; "
            "one network makes one width"
        )
    k = checked_k(k, len(columns))
    similarity, index = exact.top_k(rows, columns, k, progress=progress)
    return like(query, similarity), like(query, index)


def nearest_neighbours(
    features: Any,
    k: int,
    *,
    device: str = "auto",
    method: str = "auto",
    progress: Progress | None = None,
) -> tuple[Any, Any]:
    """Return the k most similar rows of each row of one set, the row itself first.

    features: [N, d], numpy or torch; rows need not be normalised. k: clipped to N.
    returns: cosine similarity [N, k] float32 and index [N, k] int64, of the kind that came in.

    Raises:
        BadInput: no rows, k below 1, rows with NaN, an unknown method.
    """
    rows = unit_rows(features, "embeddings")
    k = checked_k(k, len(rows))
    similarity, index = exact.top_k(rows, rows, k, progress=progress)
    own_first(similarity, index)
    return like(features, similarity), like(features, index)


def own_first(similarity: np.ndarray, index: np.ndarray) -> None:
    """Move each row's own entry to the front, in place; a row crowded out replaces the last."""
    own = np.arange(len(index))
    wrong = np.flatnonzero(index[:, 0] != own)
    for row in wrong:
        found = np.flatnonzero(index[row] == row)
        place = found[0] if len(found) else index.shape[1] - 1
        index[row, 1 : place + 1] = index[row, :place]
        similarity[row, 1 : place + 1] = similarity[row, :place]
        index[row, 0], similarity[row, 0] = row, similarity[row, : place + 1].max()


def unit_rows(features: Any, what: str) -> np.ndarray:
    """Return [N, d] features as float32 rows of length 1; rows of zeros stay zero."""
    array = np.ascontiguousarray(as_numpy(features), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] < 1:
        raise BadInput(f"{what} must be [N, d]; these have the shape {array.shape}")
    require_finite(array, what)
    length = np.sqrt(np.einsum("nd,nd->n", array, array))
    return array / np.where(length > 0, length, 1)[:, None]


def checked_k(k: int, rows: int) -> int:
    """Return k clipped to the number of rows there are."""
    if rows == 0:
        raise BadInput("the set to search is empty; give at least one embedding")
    if k < 1:
        raise BadInput(f"k is {k}; at least one neighbour must be asked for")
    return min(int(k), rows)


def like(given: Any, array: np.ndarray) -> Any:
    """Return `array` as what `given` is: numpy, or a tensor on the same device."""
    if not hasattr(given, "detach"):
        return array
    import torch

    return torch.from_numpy(array).to(given.device)
