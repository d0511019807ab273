"""Which rows read which: nearest neighbours, and the edges that both ends agree on (Eq. 7).

Arrays are numpy's or torch's; torch is not loaded for numpy's.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..embeddings import row_blocks
from .exact import BLOCK_BYTES, block_rows

if TYPE_CHECKING:
    from torch import Tensor

BLOCK_COMPARISONS = 1 << 24
BLOCK_PAIRS = 4096  # pairs of rows compared in float64 at once
SPARE = 4  # candidates beyond k, whose order rounding may have changed


def library_of(array: Any) -> Any:
    """Return numpy or torch, whichever made an array."""
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def row_numbers(array: Any) -> Any:
    """Return 0 to N - 1 for an array of N rows, on its device: [N] int64."""
    numbers = np.arange(len(array))
    if isinstance(array, np.ndarray):
        return numbers
    return library_of(array).from_numpy(numbers).to(array.device)


def reciprocal(neighbours: Any, rows: Any = None, *, within: int | None = None) -> Any:
    """Return which of each row's neighbours list that row themselves (Eq. 7).

    neighbours: [N, K] or [N, H, K] int64, a list for each row, or row and head; -1 lists nobody.
    rows:       [M], the rows asked about; all when None.
    within:     of the neighbours' lists only so many count; all when None.
    returns:    [M, K] or [M, H, K] bool.
    """
    lists = neighbours if neighbours.ndim == 3 else neighbours[:, None]
    back, (heads, width) = lists[..., :within], lists.shape[1:]
    if rows is None and heads == 1 and 0 < len(lists) <= width * back.shape[-1]:
        kept = _in_matrix(lists[:, 0], back[:, 0])[:, None]
        return kept if neighbours.ndim == 3 else kept[:, 0]
    rows = row_numbers(lists) if rows is None else rows
    kept, of_head = lists[rows] >= 0, row_numbers(lists[0])[None, :, None] if len(lists) else None
    block = max(1, BLOCK_COMPARISONS // max(1, heads * width * back.shape[-1]))
    for part in row_blocks(len(rows), block):
        mine = rows[part]
        theirs = back[lists[mine], of_head]  # [b, H, K, within]
        kept[part] &= (theirs == mine[:, None, None, None]).any(-1)
    return kept if neighbours.ndim == 3 else kept[:, 0]


def mutual(lists: Any, *, within: int | None = None) -> Any:
    """Return which entries [N, K] of lists are mutual neighbours: `reciprocal`, and not the row."""
    return reciprocal(lists, within=within) & (lists != row_numbers(lists)[:, None])


def _in_matrix(lists: Any, back: Any) -> Any:
    """Return what `reciprocal` does by an N × N matrix: for short sets less than comparing lists.

    lists: [N, K] and back: [N, L] int64.   returns: [N, K] bool.
    """
    library, own, rows = library_of(lists), row_numbers(lists)[:, None], len(lists)
    listed = library.zeros_like(library.broadcast_to(lists[:1, :1] < 0, (rows, rows + 1)))
    listed[own, back] = True  # -1, nobody, is the last column
    return listed[lists, own] & (lists >= 0)


def nearest_of(asking: "Tensor", keys: "Tensor", *, k: int) -> "tuple[Tensor, Tensor]":
    """Return the k largest inner products of each row with the rows of another set.

    asking: [Q, c].   keys: [G, c].   returns: values and indices [Q, min(k, G)], largest first.
    """
    import torch

    k = min(k, len(keys))
    values = asking.new_empty(len(asking), k)
    indices = torch.empty_like(values, dtype=torch.int64)
    size = block_rows(len(keys), least=1, most=BLOCK_BYTES)  # as many as the memory holds
    for part in row_blocks(len(asking), size):
        values[part], indices[part] = (asking[part] @ keys.T).topk(k, dim=1)
    return values, indices


def similarity_of(rows: "Tensor", others: "Tensor", *, lists: "Tensor") -> "Tensor":
    """Return the cosine of each row with those it lists, the same however many rows there are.

    rows: [N, d].   others: [M, d].   lists: [N, K] int64.   returns: [N, K] float32, rounded from
    float64: a matrix product's last bit depends on its shape, and an edge must not.
    """
    found = rows.new_empty(lists.shape)
    for part in row_blocks(len(rows), max(1, BLOCK_PAIRS // max(1, lists.shape[1]))):
        near, far = rows[part].double(), others[lists[part]].double()  # [b, d], [b, K, d]
        found[part] = (far @ near[:, :, None])[:, :, 0].float()
    return found
