"""Which gallery items a query listens to: its attention weights, layer by layer."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .edges import Edges, edge_dot, edge_softmax
from .gallery_graph import query_lists
from .incremental import GalleryState, read_layer
from .refinement import prepare
from .walk import evaluating, fill_up


class QueryWeights(NamedTuple):
    """The shares of attention of Q queries, means over the heads; they add up to 1.

    items: [Q, K] int64, the gallery rows near each query.
    own:   [layers, Q], each query's share for itself.
    lent:  [layers, Q, K], the items' shares; 0 where a query does not read an item.
    """

    items: Tensor
    own: Tensor
    lent: Tensor


@torch.no_grad()
def query_weights(state: GalleryState, queries: Any) -> QueryWeights | None:
    """Return what queries [Q, d] listen to when they are refined against a gallery.

    None where the model has no cosine graph: there each layer and head makes its own.
    """
    model = state.model
    rows = prepare(model, queries, "query embeddings")
    states = fill_up(rows)
    lists = query_lists(model, states, len(rows), state.hidden[0], state.graph)
    if lists is None:
        return None
    own, lent = [], []
    with evaluating(model):
        for number in range(len(model.blocks)):
            shares = _layer_weights(state, number, states, lists)
            own.append(shares[0][: len(rows)])
            lent.append(shares[1][: len(rows)])
            states = read_layer(state, number, states, lists)
    return QueryWeights(lists[0][: len(rows)], torch.stack(own), torch.stack(lent))


def _layer_weights(
    state: GalleryState, number: int, states: Tensor, lists: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the own share [Q'] and the items' shares [Q', K] at one layer (Eq. 8)."""
    attention, heads = state.model.layers()[number].attention, state.model.heads
    near, kept = lists
    used, place = near[kept].unique(return_inverse=True)
    compact = torch.zeros_like(near)
    compact[kept] = place
    items = fill_up(state.hidden[number][used])
    edges = Edges.of(compact[:, None], kept[:, None], heads=heads, sources=len(items))
    own = attention.project(states, state.marks[number])
    source = attention.project(items, state.marks[number])
    logits = edge_dot(own.asking, source.keys, edges)
    self_weights, weights = edge_softmax(torch.linalg.vecdot(own.asking, own.keys), logits, edges)
    by_head = kept[:, None].expand(-1, heads, -1)  # [Q', h, K]
    lent = weights.new_zeros(by_head.shape)
    lent[by_head] = weights
    return self_weights.view(-1, heads).mean(dim=1), lent.mean(dim=1)
