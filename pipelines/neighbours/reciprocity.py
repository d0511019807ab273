"""Which rows read which: nearest neighbours, and the edges that both ends agree on (Eq. 7)."""

import torch
from torch import Tensor

BLOCK_SIMILARITIES = 1 << 23  # similarities held at once: 32 MiB
BLOCK_COMPARISONS = 1 << 24


def nearest_of(asking: Tensor, keys: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest inner products of each row with the rows of another set.

    asking: [Q, c].   keys: [G, c].   returns: values and indices [Q, min(k, G)], largest first.
    """
    values, indices = [], []
    for start in range(0, len(asking), block_rows(len(keys))):
        part = asking[start : start + block_rows(len(keys))] @ keys.T
        value, index = part.topk(min(k, len(keys)), dim=1)
        values.append(value)
        indices.append(index)
    if not values:
        empty = asking.new_empty(0, min(k, len(keys)))
        return empty, empty.long()
    return torch.cat(values), torch.cat(indices)


def reciprocal(neighbours: Tensor, rows: Tensor | None = None) -> Tensor:
    """Return which of each row's neighbours list that row themselves (Eq. 7).

    neighbours: [N, H, K] int64, a list for each row and head, in any order.
    rows:       [M], the rows asked about; all when None.   returns: [M, H, K] bool.
    """
    heads, width = neighbours.shape[1:]
    if rows is None:
        rows = torch.arange(len(neighbours), device=neighbours.device)
    kept = neighbours.new_empty((len(rows), heads, width), dtype=torch.bool)
    of_head = torch.arange(heads, device=neighbours.device)[None, :, None]
    block = max(1, BLOCK_COMPARISONS // max(1, heads * width * width))
    for start in range(0, len(rows), block):
        mine = rows[start : start + block]
        theirs = neighbours[neighbours[mine], of_head]  # [block, H, K, K]
        kept[start : start + block] = (theirs == mine[:, None, None, None]).any(dim=3)
    return kept


def block_rows(columns: int) -> int:
    """Return how many rows of `columns` similarities make a block."""
    return max(1, BLOCK_SIMILARITIES // max(1, columns))
