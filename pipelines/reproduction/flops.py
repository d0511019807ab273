"""Operations that a refinement takes: by formula, and as torch counts them."""

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from .variants import Variant

LAYERS, HEADS = 4, 2


def flops_a_person(
    variant: Variant, rows: int, *, dim: int, layers: int = LAYERS, heads: int = HEADS
) -> float:
    """Return the operations of one row of a set of `rows`, a multiplication and an addition two.

    Matrix products and sums along edges, not softmax, norms or the search for neighbours. Every
    row is taken to have all its `neighbours`.
    """
    width = -(-dim // heads)
    inner = heads * width
    marks = min(variant.landmarks, rows)
    if variant.affinity == "exact":
        columns, asking, shared = width, 2 * dim * inner, 0.0
    else:
        columns, asking = marks, 2 * dim * heads * marks
        # the landmarks' projections, and folding them into the weights: once for all rows
        shared = (2 * marks * dim * inner + 2 * marks * inner * dim) / rows
    others = rows if variant.mask == "none" else min(variant.neighbours, rows)
    attention = heads * others * (columns + width)
    projections = asking + shared + 2 * dim * inner  # and the values', and the output's
    feed = 2 * dim * 4 * dim  # two layers, four times as wide inside
    return 2.0 * layers * (projections + attention + feed)


def flops_as_read(
    rows: int, *, dim: int, layers: int = LAYERS, landmarks: int = 5, neighbours: int = 20
) -> float:
    """Return NFormer's operations of one row as the paper seems to have counted them.

    Queries, keys and values (3 d²), the row's affinities to all (N l) and the sum over its
    neighbours (k d), a multiplication and an addition two; no output projection, no feed-forward
    network. Our reading: the paper gives the sum alone (Table 1).
    """
    return 2.0 * layers * (3 * dim**2 + rows * landmarks + neighbours * dim)


def search_flops_a_person(rows: int, *, dim: int) -> float:
    """Return the operations of comparing one row with all, to find its nearest: once, exactly."""
    return 2.0 * rows * dim


def counted_flops_a_person(
    variant: Variant, rows: int, *, dim: int, layers: int = LAYERS, heads: int = HEADS
) -> float:
    """Return what torch's counter sees of one row, of the layers written plainly.

    The tensors have shapes and no content, so any size can be counted. The layers proper fold,
    block and fuse, which the counter cannot follow everywhere.
    """
    with FlopCounterMode(display=False) as counter:
        states = torch.empty(rows, dim, device="meta")
        for _ in range(layers):
            states = _plain_layer(states, variant, heads=heads)
    return float(counter.get_total_flops()) / rows


def _plain_layer(states: Tensor, variant: Variant, *, heads: int) -> Tensor:
    """One block on [N, d], every product a torch call; weights are made up, being uncounted."""
    rows, dim = states.shape
    width = -(-dim // heads)
    inner = heads * width

    def linear(given: Tensor, out: int) -> Tensor:
        return functional.linear(given, given.new_empty(out, given.shape[-1]))

    values = _by_head(linear(states, inner), heads)  # [h, N, w]
    if variant.affinity == "exact":
        asking, keys = (_by_head(linear(states, inner), heads) for _ in range(2))
    else:
        marks = states[: variant.landmarks]
        asking, keys = (
            (
                states
                @ (_by_head(linear(marks, inner), heads) @ states.new_empty(heads, width, dim)).mT
            )
            for _ in range(2)
        )  # folded first: [h, l, w] x [h, w, d], then [N, d] x [h, d, l] -> [h, N, l]
    if variant.mask == "none":
        mixed = (asking @ keys.mT).softmax(dim=2) @ values  # [h, N, N] x [h, N, w]
    else:
        near = torch.empty(rows, min(variant.neighbours, rows), dtype=torch.int64, device="meta")
        logits = keys[:, near] @ asking[..., None]  # [h, N, k, c] x [h, N, c, 1]
        mixed = (logits.mT.softmax(dim=3) @ values[:, near])[:, :, 0]  # [h, N, w]
    rows_read = linear(mixed.transpose(0, 1).reshape(rows, inner), dim)
    return linear(functional.gelu(linear(rows_read, 4 * dim)), dim)


def _by_head(given: Tensor, heads: int) -> Tensor:
    """[N, h·w] -> [h, N, w]."""
    return given.unflatten(1, (heads, -1)).transpose(0, 1)


def affinity_flops(rows: int, *, dim: int, landmarks: int = 0, neighbours: int = 0) -> float:
    """Return the operations of one layer's affinity of a whole set (Eq. 2 and 5).

    landmarks: 0 for the exact A = q kᵀ.   neighbours: edges of a row; 0 for every pair.
    """
    columns = landmarks or dim
    pairs = rows * (neighbours or rows)
    projections = 2 * rows * dim * columns if landmarks else 0
    return 2.0 * (pairs * columns + projections)
