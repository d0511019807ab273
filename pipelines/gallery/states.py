"""A refined gallery with its states: new queries in milliseconds, items added and removed."""

from typing import Any, Protocol

import torch
from torch import Tensor

from ..embeddings import Embeddings
from ..errors import BadInput
from ..neighbours.checked import like
from ..neighbours.nearest import search
from ..neighbours.reciprocity import reciprocal
from ..nformer.layerwise import Layer, embed, evaluating, fill_up, fitting_threads, layer_by_layer
from ..nformer.model import NFormer
from ..nformer.on_closed_form import NFormerOnClosedForm
from ..refiners.closed_form import ClosedFormGallery, camera_ids
from ..refiners.mutual_neighbours import read
from .explanation import Explaining, LayerWeights, attention_weights
from .graph import (
    GalleryGraph,
    Known,
    edges_to_read,
    gallery_graph,
    query_lists,
    similarity_of,
)
from .refinement import (
    GalleryState,
    pick_landmarks,
    prepare,
    require_rows,
    started,
)

ROUNDING = 1e-6  # of a product's last bits: a list is searched anew rather than kept in doubt


class Lists(Protocol):
    """Finds the nearest of some rows without comparing with all."""

    def nearest(self, asking: Tensor, keys: Tensor, *, k: int) -> tuple[Tensor, Tensor]:
        """Return the k nearest keys of each row, as `nearest_of`."""


def refine_gallery(
    model: NFormer,
    gallery: Any,
    *,
    landmarks: Any = "random",
    seed: int = 0,
    marks: Tensor | None = None,
    known: Known | None = None,
) -> GalleryState:
    """Refine a gallery and keep its states; the result is that of `refine`'s isolated protocol.

    gallery: Embeddings or [G, d], numpy or torch.   landmarks, seed: as for `refine`.
    marks:   landmarks' states [layers, l, d] of another gallery state, instead of landmarks.
    known:   gives the lists [G, k] of this gallery's nearest where they were searched before; a
             model with a closed form looks at other rows, and searches those.
    """
    rows = prepare(model, _features(gallery), what="gallery embeddings")
    require_rows(rows)
    start = started(model, rows, camids=_camids(gallery, rows))
    rows, known = (rows, known) if start is None else (start.refined, None)
    if marks is None:
        marks = pick_landmarks(model, rows, landmarks=landmarks, seed=seed)
    return _computed(model, rows, landmarks=marks, start=start, known=known)


def refine_queries(
    state: GalleryState, queries: Any, *, explain: list[LayerWeights] | None = None
) -> Any:
    """Refine queries against a refined gallery, each on its own, touching only what they read.

    queries: Embeddings or [Q, d], numpy or torch.   returns: the same kind; equal to `refine`'s.
    explain: the shares of what each layer reads are appended to it. Layers that make a graph of
             their own for each head (`graph="affinity"`), or that read every row, append nothing.
    """
    rows = prepare(state.model, _features(queries), what="query embeddings")
    refined = refine_prepared(state, rows, camids=_camids(queries, rows), explain=explain)
    if isinstance(queries, Embeddings):
        return queries.with_features(refined)
    return like(queries, refined.cpu().numpy())


@torch.no_grad()
def refine_prepared(
    state: GalleryState,
    rows: Tensor,
    *,
    camids: Tensor,
    explain: list[LayerWeights] | None = None,
    lists: Lists | None = None,
) -> Tensor:
    """Do what `refine_queries` does with rows that `prepare` has checked: [Q, d] -> [Q, d].

    lists: finds neighbours among the gallery's states before the first layer; None: all are
           compared.
    """
    model = state.model
    if state.start is not None and isinstance(model, NFormerOnClosedForm):
        rows = model.closed_form.query(
            state.start,
            rows,
            camids=camids,
            read=read if explain is None else Explaining(explain),
        )
    states = fill_up(rows)
    with evaluating(model), fitting_threads(rows):
        near = query_lists(
            model,
            states,
            count=len(rows),
            gallery=state.hidden[0],
            graph=state.graph,
            known=None if lists is None else _known(lists, rows, keys=state.hidden[0]),
        )
        for number in range(len(model.blocks)):
            if explain is not None and near is not None:
                told = attention_weights(state, number, states=states, lists=near, count=len(rows))
                explain.append(told)
            states = read_layer(state, number, states=states, lists=near)
        return model.after(rows, embed(model, states[: len(rows)]), start=state.start)


def _known(lists: Lists, rows: Tensor, *, keys: Tensor) -> Known:
    """Return what gives the nearest of rows [Q, d] by lists."""
    return lambda k: lists.nearest(rows, keys, k=k)[1].numpy()


@torch.no_grad()
def add_items(state: GalleryState, gallery: Any) -> GalleryState:
    """Return the state with items added after those there, recomputing only what they touch.

    Equal to refining the larger gallery with the landmarks' states of this one.
    """
    new = prepare(state.model, _features(gallery), what="gallery embeddings")
    if not len(new):
        return state
    if state.start is not None:
        camids = torch.cat([state.start.camids, _camids(gallery, new)])
        return _restarted(state, torch.cat([state.start.rows, new]), camids=camids)
    rows = torch.cat([state.hidden[0], new])
    before = torch.arange(len(state), device=rows.device)
    return _changed(state, rows, origin=torch.cat([before, before.new_full((len(new),), -1)]))


@torch.no_grad()
def remove_items(state: GalleryState, rows: Any) -> GalleryState:
    """Return the state without the items at `rows` (an index or a mask), the others in order.

    Raises:
        BadInput: rows outside of the gallery, or none would remain.
    """
    chosen = torch.as_tensor(rows, device=state.marks.device).flatten()
    keep = torch.ones(len(state), dtype=torch.bool, device=state.marks.device)
    if chosen.dtype == torch.bool and len(chosen) == len(state):
        keep = ~chosen
    elif len(chosen):
        if chosen.is_floating_point() or chosen.min() < 0 or chosen.max() >= len(state):
            raise BadInput(f"rows to remove must be row numbers from 0 to {len(state) - 1}")
        keep[chosen.long()] = False
    if not keep.any():
        raise BadInput(f"all {len(state)} items would be removed; a gallery needs one at least")
    origin = keep.nonzero()[:, 0]
    if state.start is not None and not keep.all():
        return _restarted(state, state.start.rows[origin], camids=state.start.camids[origin])
    return state if keep.all() else _changed(state, state.hidden[0][origin], origin=origin)


def _restarted(state: GalleryState, rows: Tensor, *, camids: Tensor) -> GalleryState:
    """Refine another gallery whole: a closed form subtracts the means of all rows."""
    start = started(state.model, rows, camids=camids)
    assert start is not None
    return _computed(state.model, start.refined, landmarks=state.marks, start=start)


@torch.no_grad()
def _computed(
    model: NFormer,
    rows: Tensor,
    *,
    landmarks: Tensor,
    start: ClosedFormGallery | None = None,
    known: Known | None = None,
) -> GalleryState:
    """Refine a prepared gallery whole; landmarks as rows, or as states once recorded."""
    graph, states = gallery_graph(model, rows, known=known), rows.clone()
    layers: list[tuple[Tensor, Tensor]] = []
    with evaluating(model):
        for layer in layer_by_layer(model, states, edges=graph.edges, landmarks=landmarks):
            layers.append((states.clone(), layer.marks))
    return GalleryState.of(model, [*layers, (states, states[:0])], graph=graph, start=start)


def _changed(state: GalleryState, rows: Tensor, *, origin: Tensor) -> GalleryState:
    """Return the state of another gallery, `origin` [G'] giving the old row of each, or -1.

    A list is searched anew where it lost an item or a new one comes near enough; a row is
    recomputed at the first layer where its edges differ, and then where it reads one that is.
    """
    model, lists = state.model, state.graph.lists
    if lists is None or lists.shape[1] != model.neighbours or len(rows) < model.neighbours:
        return _computed(model, rows, landmarks=state.marks)  # every row may read every other
    assert state.graph.reach is not None
    renumbered = _renumbered(lists, len(state), origin=origin)  # [G', k], -1 for what is not there
    changed = (renumbered < 0).any(dim=1)
    changed |= _overtaken(rows, origin, reach=state.graph.reach)
    number = changed.nonzero()[:, 0]
    fresh = renumbered.clone()
    fresh[number] = search(rows[number], rows, model.neighbours)[1]
    fresh[number] = _own_first(fresh[number], number)
    reach = state.graph.reach[origin]
    reach[number] = similarity_of(rows[number], rows, lists=fresh[number, -1:])[:, 0]
    kept, stale = _kept(
        model, fresh, renumbered=renumbered, number=number, graph=state.graph, origin=origin
    )
    graph = GalleryGraph(fresh, kept, reach, model.heads)
    return _recomputed(state, rows, origin=origin, graph=graph, stale=stale)


def _recomputed(
    state: GalleryState, rows: Tensor, *, origin: Tensor, graph: GalleryGraph, stale: Tensor
) -> GalleryState:
    """Carry a change through the layers: each spreads it by one hop."""
    assert graph.lists is not None and graph.kept is not None
    hidden = [rows]
    with evaluating(state.model):
        for number, before in enumerate(state.hidden[1:]):
            if number:
                stale = stale | (stale[graph.lists] & graph.kept).any(dim=1)
            touched = stale.nonzero()[:, 0]
            states = before[origin]  # new rows get the last row's, and are stale
            lists = (graph.lists[touched], graph.kept[touched])
            partial = GalleryState(state.model, tuple(hidden), state.marks, graph)
            read = read_layer(partial, number, states=fill_up(hidden[-1][touched]), lists=lists)
            states[touched] = read[: len(touched)]
            hidden.append(states)
    return GalleryState(state.model, tuple(hidden), state.marks, graph)


def read_layer(
    state: GalleryState, number: int, *, states: Tensor, lists: tuple[Tensor, Tensor] | None
) -> Tensor:
    """Take rows [M, d] through layer `number`, projecting only the items that they read.

    lists: [M', K] items and whether each is read, M' <= M, the rest being filling.
    """
    model, block = state.model, state.model.layers()[number]
    items, edges = state.hidden[number], None
    if lists is not None:
        near, kept = (_filled(part, len(states)) for part in lists)
        items, edges = edges_to_read(items, (near, kept), heads=model.heads)
    source = block.attention.project(items, state.marks[number])
    reach = None
    if lists is None and model.mask != "none":
        values = model.affinity_lists(source)[0]
        reach = model.affinity_reach(values)
    return Layer(block, state.marks[number], source, reach).read_by(model, states, edges=edges)


def _filled(part: Tensor, rows: int) -> Tensor:
    return torch.cat([part, part.new_zeros(rows - len(part), part.shape[1])])


def _renumbered(lists: Tensor, rows: int, *, origin: Tensor) -> Tensor:
    """Return lists of another gallery: items by their new numbers, -1 where they are gone."""
    numbers = lists.new_full((rows + 1,), -1)  # the last stands for new rows' origin, -1
    old = (origin >= 0).nonzero()[:, 0]
    numbers[origin[old]] = old
    renumbered = lists.new_full((len(origin), lists.shape[1]), -1)
    renumbered[old] = numbers[lists[origin[old]]]
    return renumbered


def _overtaken(rows: Tensor, origin: Tensor, *, reach: Tensor) -> Tensor:
    """Return which old rows a new one comes nearer to than their k-th neighbour: [G'] bool."""
    new = rows[origin < 0]
    overtaken = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    old = origin >= 0
    for part in new.split(256) if len(new) else ():
        nearest = (rows[old] @ part.T).amax(dim=1)
        overtaken[old] |= nearest > reach[origin[old]] - ROUNDING
    return overtaken


def _own_first(lists: Tensor, rows: Tensor) -> Tensor:
    """Return lists [M, k] with each row at the head of its own; crowded out, it takes a place."""
    own = rows[:, None]
    others = torch.where(
        lists == own, lists.shape[1], torch.arange(lists.shape[1], device=lists.device)
    )
    order = others.argsort(dim=1, stable=True)  # the own entry, if there, comes last
    return torch.cat([own, lists.gather(1, order)[:, :-1]], dim=1)


def _kept(
    model: NFormer,
    fresh: Tensor,
    *,
    renumbered: Tensor,
    number: Tensor,
    graph: GalleryGraph,
    origin: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the edges kept, [G', k], and which rows' edges differ from before, [G'] bool."""
    assert graph.kept is not None
    kept = graph.kept[origin]
    before = renumbered[number][renumbered[number] >= 0]
    asked = torch.cat([number, fresh[number].flatten(), before]).unique()
    keep = fresh[asked] != asked[:, None]
    if model.mask == "reciprocal":
        keep &= reciprocal(fresh[:, None], asked)[:, 0]
    old = torch.where(kept[asked], renumbered[asked], -1).sort(dim=1).values
    new = torch.where(keep, fresh[asked], -1).sort(dim=1).values
    stale = torch.zeros(len(fresh), dtype=torch.bool, device=fresh.device)
    stale[asked] = (old != new).any(dim=1) | (origin[asked] < 0)
    # An edge to an item that is gone is -1 before and after sorting: such rows are searched anew.
    lost = (kept[number] & (renumbered[number] < 0)).any(dim=1)
    stale[number[lost]] = True
    kept[asked] = keep
    return kept, stale


def _camids(items: Any, rows: Tensor) -> Tensor:
    known = items.camids if isinstance(items, Embeddings) else None
    return camera_ids(known, len(rows), device=rows.device)


def _features(rows: Any) -> Any:
    return rows.features if isinstance(rows, Embeddings) else rows
