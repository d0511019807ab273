"""Which gallery items a query reads, by layer: in the closed form's sums, then by attention."""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..neighbours.edges import edge_dot, edge_softmax
from ..refiners.mutual_neighbours import read
from .graph import edges_to_read

if TYPE_CHECKING:
    from .refinement import GalleryState


class LayerWeights(NamedTuple):
    """The shares that make one layer's states of Q queries; they add up to 1.

    items: [Q, K] int64, the gallery rows near each query.
    own:   [Q], each query's share for itself.
    lent:  [Q, K], the items' shares, means over the heads; 0 where a query does not read an item.
    """

    items: Tensor
    own: Tensor
    lent: Tensor


def shares_of(layers: list[LayerWeights], query: int) -> tuple[float, dict[int, float]]:
    """Return one query's own share and those of gallery rows, means over the layers."""
    lent: dict[int, float] = {}
    for layer in layers:
        for row, share in zip(layer.items[query].tolist(), layer.lent[query].tolist(), strict=True):
            if share > 0:
                lent[row] = lent.get(row, 0.0) + share / len(layers)
    own = sum(float(layer.own[query]) for layer in layers) / len(layers) if layers else 1.0
    return own, lent


class Explaining:
    """Reads as `read` does, and records the shares of each of the closed form's sums."""

    def __init__(self, explain: list[LayerWeights]) -> None:
        self.explain = explain

    def __call__(self, rows: Tensor, sources: Tensor, *, lists: Tensor, weights: Tensor) -> Tensor:
        """Return each query's sum with what it reads, [Q, d]."""
        total = 1 + weights.sum(dim=1)
        self.explain.append(LayerWeights(lists, 1 / total, weights / total[:, None]))
        return read(rows, sources, lists=lists, weights=weights)


def attention_weights(
    state: "GalleryState",
    number: int,
    *,
    states: Tensor,
    lists: tuple[Tensor, Tensor],
    count: int,
) -> LayerWeights:
    """Return the shares at layer `number` (Eq. 8) of the first `count` of states [Q', d]."""
    attention, heads = state.model.layers()[number].attention, state.model.heads
    items, edges = edges_to_read(state.hidden[number], lists, heads=heads)
    own = attention.project(states, state.marks[number])
    source = attention.project(items, state.marks[number])
    logits = edge_dot(own.asking, source.keys, edges=edges)
    itself = torch.linalg.vecdot(own.asking, own.keys)
    self_weights, weights = edge_softmax(itself, logits, edges=edges)
    near, kept = lists
    by_head = kept[:, None].expand(-1, heads, -1)  # [Q', h, K]
    lent = weights.new_zeros(by_head.shape)
    lent[by_head] = weights
    by_query = self_weights.view(-1, heads).mean(dim=1), lent.mean(dim=1)
    return LayerWeights(*(part[:count] for part in (near, *by_query)))
