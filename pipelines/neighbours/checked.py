"""Check and normalise rows before a search; order its lists and convert them after it."""

from typing import Any

import numpy as np

from ..embeddings import as_numpy, require_finite
from ..errors import BadInput


def in_order(similarity: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return lists [Q, k] with the largest first and ties by index; missing entries (-1) last."""
    order = np.lexsort((index, -similarity), axis=1)
    return np.take_along_axis(similarity, order, 1), np.take_along_axis(index, order, 1)


def own_first(similarity: np.ndarray, index: np.ndarray) -> None:
    """Move each row's own entry to the front, in place; a row crowded out replaces the last."""
    for row in np.flatnonzero(index[:, 0] != np.arange(len(index))):
        found = np.flatnonzero(index[row] == row)
        last = int(found[0]) if len(found) else index.shape[1] - 1
        own = similarity[row, last] if len(found) else similarity[row, 0]
        index[row, 1 : last + 1] = index[row, :last].copy()
        similarity[row, 1 : last + 1] = similarity[row, :last].copy()
        index[row, 0], similarity[row, 0] = row, own


def unit_rows(features: Any, what: str) -> np.ndarray:
    """Return [N, d] features as float32 rows of length 1; rows of zeros stay zero."""
    array = np.ascontiguousarray(as_numpy(features), dtype=np.float32)
    check_widths(array, array)
    require_finite(array, what)
    length = np.sqrt(np.einsum("nd,nd->n", array, array))
    extreme = np.flatnonzero(~(length < 1e18) | (length < 1e-18))
    if len(extreme):  # squares left the range of float32, or the row is zero
        largest = np.abs(array[extreme]).max(axis=1, keepdims=True)
        array = array.copy()
        array[extreme] /= np.where(largest > 0, largest, 1)
        length[extreme] = np.linalg.norm(array[extreme], axis=1)
    return array / np.where(length > 0, length, 1)[:, None]


def check_widths(query: Any, gallery: Any) -> None:
    """Raise BadInput unless both are [rows, d] of one width d."""
    for what, rows in (("the query", query), ("the gallery", gallery)):
        shape = np.shape(rows)
        if len(shape) != 2 or shape[1] < 1:
            raise BadInput(f"embeddings must be [N, d]; {what} has the shape {tuple(shape)}")
    if np.shape(query)[1] != np.shape(gallery)[1]:
        raise BadInput(
            f"the query's embeddings are {np.shape(query)[1]} wide, the gallery's "
            f"{np.shape(gallery)[1]}; one network makes one width"
        )


def checked_k(k: int, rows: int) -> int:
    """Return k clipped to the number of rows there are."""
    if rows == 0:
        raise BadInput("the set to search is empty; give at least one embedding")
    if k < 1:
        raise BadInput(f"k is {k}; at least one neighbour must be asked for")
    return min(int(k), rows)


def like(given: Any, array: Any) -> Any:
    """Return `array` as what `given` is: numpy, or a tensor on the same device."""
    if not hasattr(given, "detach"):
        return array
    import torch

    return torch.as_tensor(array).to(given.device)
