"""Embeddings -> refined embeddings: one set together, or queries that do not see each other."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from logging import getLogger
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..embeddings import Embeddings, row_blocks
from ..errors import BadInput
from ..retrieval.search import nearest_neighbours, search
from .attention import Projected
from .edges import Edges
from .graph import nearest_of
from .landmarks import choose_landmarks, given_landmarks
from .nformer import Block, NFormer

Protocol = Literal["isolated", "joint"]
BLOCK_ROWS = 4096  # rows in the feed-forward network at once
ROW_MULTIPLE = 16  # queries are filled up to it: a product's rounding depends on very small shapes
SPARE = 4  # candidates beyond k, whose order rounding may have changed
FEW = 64  # queries
LOG = getLogger("nformer")


def refine(
    model: NFormer,
    query: Embeddings,
    gallery: Embeddings,
    *,
    protocol: Protocol = "isolated",
    landmarks: Any = "random",
    seed: int = 0,
) -> tuple[Embeddings, Embeddings]:
    """Refine a query and a gallery.

    protocol:  "isolated": the gallery reads the gallery; each query reads itself and the gallery,
               as if it were the only one. "joint": all in one set, as the released code does.
    landmarks: "random", "kmeans" or "farthest", chosen with `seed`, or rows [layers, l]: of the
               gallery where isolated, of the query and then the gallery where joint.

    Raises:
        BadInput: an unknown protocol, widths that differ from the model's, NaN or zero rows.
    """
    if protocol not in get_args(Protocol):
        raise BadInput(f"protocol {protocol!r}: unknown; known are {', '.join(get_args(Protocol))}")
    query_rows = prepare(model, query.features, "query embeddings")
    gallery_rows = prepare(model, gallery.features, "gallery embeddings")
    if protocol == "joint":
        together = torch.cat([query_rows, gallery_rows])
        refined = refine_rows(model, together, pick_landmarks(model, together, landmarks, seed))
        refined_query, refined_gallery = refined[: len(query)], refined[len(query) :]
    else:
        chosen = pick_landmarks(model, gallery_rows, landmarks, seed)
        refined_query, refined_gallery = refine_isolated(model, query_rows, gallery_rows, chosen)
    return query.with_features(refined_query), gallery.with_features(refined_gallery)


def refine_set(model: NFormer, features: Any, *, landmarks: Any = None, seed: int = 0) -> Any:
    """Refine one set in which everything sees everything, as the released code does.

    features:  [N, d], numpy or torch, of any length of rows: they are L2-normalised here.
    landmarks: [layers, l] row numbers; or "random" (the default), "kmeans", "farthest".
    returns:   [N, d] float32, after the BNNeck; numpy or torch as given, on the same device.

    Raises:
        BadInput: another width than the model's; NaN, infinite or zero rows (named).
    """
    rows = prepare(model, features, "embeddings")
    chosen = pick_landmarks(model, rows, "random" if landmarks is None else landmarks, seed)
    refined = refine_rows(model, rows, chosen)
    return as_given(features, refined)


def as_given(features: Any, refined: Tensor) -> Any:
    """Return `refined` as what `features` is: numpy, or a tensor on the same device."""
    return refined.to(features.device) if isinstance(features, Tensor) else refined.cpu().numpy()


def prepare(model: NFormer, features: Any, what: str) -> Tensor:
    """Return embeddings checked and L2-normalised, [N, d] float32 on the model's device."""
    if isinstance(features, np.ndarray) and not features.flags.writeable:
        features = features.copy()
    rows = torch.as_tensor(features).detach().to(model.device, torch.float32)
    if rows.ndim != 2 or rows.shape[1] != model.dim:
        raise BadInput(
            f"the {what} have the shape {list(rows.shape)}; this NFormer refines "
            f"[N, {model.dim}]: it was trained on embeddings of that width"
        )
    _refuse(~rows.sum(dim=1).isfinite(), rows, f"{what} hold NaN or infinite values")
    largest = rows.abs().amax(dim=1, keepdim=True) if len(rows) else rows[:, :1]
    _refuse(largest[:, 0] == 0, rows, f"{what} are zero: they have no direction")
    if len(rows) and (largest.max() > 1e15 or largest.min() < 1e-15):
        rows = rows / largest  # squares would leave the range of float32
    return functional.normalize(rows)


def pick_landmarks(model: NFormer, rows: Tensor, landmarks: Any, seed: int) -> Tensor:
    """Return the landmarks of a set as [layers, l] int64: chosen by name and seed, or as given."""
    layers = len(model.blocks)
    if not len(rows):
        raise BadInput("there is nothing to refine against: the set has no embeddings")
    if not isinstance(landmarks, str):
        return given_landmarks(landmarks, layers=layers, rows=len(rows))
    for name, wanted in (("landmarks", model.landmarks), ("neighbours", model.neighbours)):
        if wanted > len(rows):
            LOG.warning("%d %s, but the set has %d rows: all are used", wanted, name, len(rows))
    return choose_landmarks(
        rows,
        layers=layers,
        count=model.landmarks,
        choice=landmarks,  # type: ignore[arg-type]  # checked there
        seed=seed,
    )


@torch.no_grad()
def refine_rows(model: NFormer, rows: Tensor, landmarks: Tensor) -> Tensor:
    """Refine one prepared set: [N, d] -> [N, d]."""
    states = rows.clone()
    with evaluating(model):
        for _ in walk(model, states, gallery_graph(model, rows).edges, landmarks):
            pass
    return embed(model, states)


@torch.no_grad()
def refine_isolated(
    model: NFormer, query: Tensor, gallery: Tensor, landmarks: Tensor
) -> tuple[Tensor, Tensor]:
    """Refine prepared queries [Q, d] against a prepared gallery [G, d], each on its own."""
    graph = gallery_graph(model, gallery)
    states, query_states = gallery.clone(), fill_up(query)
    lists = query_lists(model, query_states, len(query), gallery, graph)
    edges = None
    if lists is not None:
        near, kept = (part[:, None] for part in lists)
        edges = Edges.of(near, kept, heads=model.heads, sources=len(gallery))
    with evaluating(model):
        for layer in walk(model, states, graph.edges, landmarks):
            query_states = layer.read_by(model, query_states, edges)
    return embed(model, query_states[: len(query)]), embed(model, states)


@contextmanager
def evaluating(model: NFormer) -> Iterator[None]:
    """Switch dropout off for a while."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def embed(model: NFormer, states: Tensor) -> Tensor:
    """Return the last states as embeddings: the BNNeck with its running statistics."""
    neck = model.bottleneck
    return functional.batch_norm(
        states, neck.running_mean, neck.running_var, neck.weight, neck.bias, eps=neck.eps
    )


@dataclass(frozen=True, eq=False)
class GalleryGraph:
    """A gallery's cosine graph, and how near a newcomer must be to be listed by each row.

    lists: [G, min(k, G)] int64, the nearest of each row, itself first.   kept: bool, its edges.
    reach: [G], the similarity of each row's k-th neighbour.
    All are None where there is no mask, or where each layer makes its own graph.
    """

    lists: Tensor | None
    kept: Tensor | None
    reach: Tensor | None
    heads: int

    @property
    def edges(self) -> Edges | None:
        """The edges kept, for every head alike."""
        if self.lists is None or self.kept is None:
            return None
        lists, kept = self.lists[:, None], self.kept[:, None]
        return Edges.of(lists, kept, heads=self.heads, sources=len(lists))


def gallery_graph(model: NFormer, rows: Tensor) -> GalleryGraph:
    """Return the cosine graph of a prepared set, [N, d]."""
    if model.mask == "none" or model.graph == "affinity":
        return GalleryGraph(None, None, None, model.heads)
    lists = nearest_neighbours(rows, model.neighbours)[1]
    reach = rows.new_full((len(rows),), -torch.inf)
    if lists.shape[1] == model.neighbours:
        reach = similarity_of(rows, rows, lists[:, -1:])[:, 0]
    return GalleryGraph(lists, model.kept(lists[:, None])[:, 0], reach, model.heads)


def query_lists(
    model: NFormer, query: Tensor, count: int, gallery: Tensor, graph: GalleryGraph
) -> tuple[Tensor, Tensor] | None:
    """Return the gallery items near each query and which it reads: none depends on another query.

    query: [Q', d], the first `count` rows being queries and the rest filling, which reads nothing.
    returns: [Q', min(k - 1, G)] int64 and bool; None where each layer makes its own graph.
    """
    if graph.reach is None:
        return None
    lists = _near(query, gallery, model.neighbours - 1 + SPARE).sort(dim=1).values
    similarity, order = similarity_of(query, gallery, lists).sort(
        dim=1, descending=True, stable=True
    )
    lists = lists.gather(1, order)[:, : model.neighbours - 1]
    kept = torch.ones_like(lists, dtype=torch.bool)
    if model.mask == "reciprocal":
        kept = similarity[:, : model.neighbours - 1] > graph.reach[lists]
    kept[count:] = False
    return lists, kept


def _near(query: Tensor, gallery: Tensor, k: int) -> Tensor:
    """Return the k items nearest to each query; a few queries are not worth the large search."""
    if len(query) <= FEW:
        return nearest_of(query, gallery, k)[1]
    return search(query, gallery, k)[1]


def similarity_of(rows: Tensor, others: Tensor, lists: Tensor) -> Tensor:
    """Return the cosine of each row with those it lists, the same however many rows there are.

    rows: [N, d].   others: [M, d].   lists: [N, K] int64.   returns: [N, K] float32, rounded from
    float64: a matrix product's last bit depends on its shape, and an edge must not.
    """
    found = torch.empty(lists.shape, device=rows.device)
    for part in row_blocks(len(rows), max(1, BLOCK_ROWS // max(1, lists.shape[1]))):
        near, far = rows[part].double(), others[lists[part]].double()  # [b, d], [b, K, d]
        found[part] = (far @ near[:, :, None])[:, :, 0].float()
    return found


def fill_up(query: Tensor) -> Tensor:
    """Return queries filled up with rows of zeros, so that one is multiplied as many are."""
    rows = max(1, -(-len(query) // ROW_MULTIPLE)) * ROW_MULTIPLE
    return functional.pad(query, (0, 0, 0, rows - len(query)))


@dataclass(frozen=True)
class Layer:
    """One block and what its rows offer to read, before the rows themselves move on.

    marks:  [l, d], the landmarks' states.   source: of all rows.
    reach:  [G, h], each row's and head's k-th largest affinity, where layers make their own graph.
    """

    block: Block
    marks: Tensor
    source: Projected
    reach: Tensor | None

    def read_by(self, model: NFormer, query: Tensor, edges: Edges | None) -> Tensor:
        """Return the next states of queries [Q', d] that read these rows."""
        attention = self.block.attention
        own = attention.project(query, self.marks)
        if model.mask == "none":
            return self.block(query, attention.read_all_of(own, self.source))
        if edges is None:
            edges = self._affinity_edges(model, own)
        return self.block(query, attention.read(own, self.source, edges))

    def _affinity_edges(self, model: NFormer, own: Projected) -> Edges:
        """Return the edges of queries by this layer's affinity (Eq. 6), each on its own."""
        heads, width = model.heads, own.keys.shape[1]
        asking, keys = (part.view(-1, heads, width) for part in (own.asking, own.keys))
        their_asking = self.source.asking.view(-1, heads, width)
        their_keys = self.source.keys.view(-1, heads, width)
        lists, kept = [], []
        for head in range(heads):
            values, index = nearest_of(asking[:, head], their_keys[:, head], model.neighbours)
            itself = torch.linalg.vecdot(asking[:, head], keys[:, head])[:, None]
            rank = torch.arange(index.shape[1], device=index.device)
            keep = rank + (itself > values).long() < model.neighbours  # the row takes a place too
            if model.mask == "reciprocal":
                assert self.reach is not None
                back = torch.linalg.vecdot(their_asking[index, head], keys[:, None, head])
                keep &= back > self.reach[index, head]
            lists.append(index)
            kept.append(keep)
        sources = len(their_keys)
        return Edges.of(
            torch.stack(lists, dim=1), torch.stack(kept, dim=1), heads=heads, sources=sources
        )


def walk(model: NFormer, states: Tensor, edges: Edges | None, landmarks: Tensor) -> Iterator[Layer]:
    """Take a set through all layers, in place, showing each layer before its rows move on.

    states:    [N, d], overwritten block by block: what others read was projected before.
    edges:     of the set, or None where each layer makes its own, or there is no mask.
    landmarks: [layers, l] rows of the set, or [layers, l, d] landmarks' states as once recorded.
    """
    for block, chosen in zip(model.layers(), landmarks.to(states.device), strict=True):
        marks = chosen if chosen.is_floating_point() else states[chosen]  # a copy
        source = block.attention.project(states, marks)
        reach, layer_edges = None, edges
        if edges is None and model.mask != "none":
            values, lists = model.affinity_lists(source)
            layer_edges = model.masked_edges(lists)
            reach = model.affinity_reach(values)
        yield Layer(block, marks, source, reach)
        _advance(model, block, states, source, layer_edges)


def _advance(
    model: NFormer, block: Block, states: Tensor, source: Projected, edges: Edges | None
) -> None:
    everything = block.attention.read_all(source) if edges is None else None
    for part in row_blocks(len(states), BLOCK_ROWS):
        if edges is None:
            assert everything is not None
            read = everything[part]
        else:
            first, last = part.start * model.heads, part.stop * model.heads
            read = block.attention.read(source.block(first, last), source, edges.block(first, last))
        states[part] = block(states[part], read)


def _refuse(bad: Tensor, rows: Tensor, what: str) -> None:
    """Raise BadInput naming the first of the rows marked bad; a finite sum's overflow is not."""
    numbers = bad.nonzero()[:, 0].cpu().numpy()
    if "NaN" in what:
        numbers = np.array([row for row in numbers if not rows[row].isfinite().all()], int)
    if len(numbers):
        listed = ", ".join(map(str, numbers[:5])) + ("…" if len(numbers) > 5 else "")
        raise BadInput(
            f"{len(numbers)} of {len(rows)} {what} (rows {listed}); remove them, or look at the "
            "network that made them"
        )
