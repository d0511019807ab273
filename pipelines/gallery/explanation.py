"""Which gallery items a query listens to, by layer: the closed form's sums, then attention."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..embeddings import Embeddings
from ..neighbours.edges import Edges, edge_dot, edge_softmax
from ..nformer.layerwise import embed, evaluating, fill_up
from ..nformer.on_closed_form import NFormerOnClosedForm
from ..refiners.closed_form import camera_ids
from ..refiners.mutual_neighbours import query_edges, read_listed
from .graph import query_lists, similarity_of
from .refinement import prepare
from .states import GalleryState, read_layer


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


def query_weights(state: GalleryState, queries: Any) -> list[LayerWeights]:
    """Return what queries (Embeddings or [Q, d]) listen to when refined against a gallery."""
    return refine_and_tell(state, queries)[1]


@torch.no_grad()
def refine_and_tell(state: GalleryState, queries: Any) -> tuple[Tensor, list[LayerWeights]]:
    """Refine queries (Embeddings or [Q, d]) as `refine_queries` does, and tell what they heard.

    returns: [Q, d], and the shares of each layer. Layers that make a graph of their own for each
    head (`graph="affinity"`), or that read every row, are not told.
    """
    model, known = state.model, isinstance(queries, Embeddings)
    rows = prepare(model, queries.features if known else queries, "query embeddings")
    found: list[LayerWeights] = []
    if state.start is not None and isinstance(model, NFormerOnClosedForm):
        camids = camera_ids(queries.camids if known else None, len(rows), rows.device)
        found, rows = _closed_form_weights(state, rows, camids)
    states = fill_up(rows)
    lists = query_lists(model, states, len(rows), state.hidden[0], state.graph)
    with evaluating(model):
        for number in range(len(model.blocks)):
            if lists is not None:
                own, lent = _layer_weights(state, number, states, lists)
                found.append(LayerWeights(*(part[: len(rows)] for part in (lists[0], own, lent))))
            states = read_layer(state, number, states, lists)
    return model.after(rows, embed(model, states[: len(rows)])), found


def _closed_form_weights(
    state: GalleryState, rows: Tensor, camids: Tensor
) -> tuple[list[LayerWeights], Tensor]:
    """Return the shares of the closed form's sums, and the rows that it hands on."""
    start, model = state.start, state.model
    assert start is not None and isinstance(model, NFormerOnClosedForm)
    sharpness, found = model.closed_form.settings.sharpness, []
    states = model.closed_form.standardise(rows, camids, means=start.means)
    for items, graph in zip(start.hidden, start.graphs, strict=False):
        near, kept = query_edges(states, camids, rows=items, graph=graph)
        weights = torch.exp(sharpness * (similarity_of(states, items, near) - 1)) * kept
        total = 1 + weights.sum(dim=1)
        found.append(LayerWeights(near, 1 / total, weights / total[:, None]))
        states = read_listed(states, items, listed=(near, kept), sharpness=sharpness)
    return found, states


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
    logits = edge_dot(own.asking, source.keys, edges=edges)
    self_weights, weights = edge_softmax(
        torch.linalg.vecdot(own.asking, own.keys), logits, edges=edges
    )
    by_head = kept[:, None].expand(-1, heads, -1)  # [Q', h, K]
    lent = weights.new_zeros(by_head.shape)
    lent[by_head] = weights
    return self_weights.view(-1, heads).mean(dim=1), lent.mean(dim=1)
