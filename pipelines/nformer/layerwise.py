"""Layer-wise inference of a whole set in blocks of rows; queries can read each layer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..embeddings import row_blocks
from ..neighbours.edges import Edges
from ..neighbours.reciprocity import nearest_of
from .fused import Projected
from .model import Block, NFormer

BLOCK_ROWS = 4096  # rows in the feed-forward network at once on a CPU
DEVICE_ROWS = 131072  # and elsewhere, where a block costs a wait for the device
ALONE = 16  # rows that one thread is best at
ROW_MULTIPLE = 16  # queries are filled up to it: a product's rounding depends on very small shapes


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

    def read_by(self, model: NFormer, query: Tensor, *, edges: Edges | None) -> Tensor:
        """Return the next states of queries [Q', d] that read these rows."""
        attention = self.block.attention
        own = attention.project(query, self.marks)
        if model.mask == "none":
            return self.block(query, attention.read_all_of(own, self.source))
        if edges is None:
            edges = self._affinity_edges(model, own)
        return self.block(query, attention.read(own, self.source, edges=edges))

    def _affinity_edges(self, model: NFormer, own: Projected) -> Edges:
        """Return the edges of queries by this layer's affinity (Eq. 6), each on its own."""
        heads, width = model.heads, own.keys.shape[1]
        asking, keys = (part.view(-1, heads, width) for part in (own.asking, own.keys))
        their_asking = self.source.asking.view(-1, heads, width)
        their_keys = self.source.keys.view(-1, heads, width)
        lists, kept = [], []
        for head in range(heads):
            values, index = nearest_of(asking[:, head], their_keys[:, head], k=model.neighbours)
            itself = torch.linalg.vecdot(asking[:, head], keys[:, head])[:, None]
            rank = torch.arange(index.shape[1], device=index.device)
            keep = rank + (itself > values).long() < model.neighbours  # the row is one of k
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


def layer_by_layer(
    model: NFormer, states: Tensor, *, edges: Edges | None, landmarks: Tensor, apart: int = 0
) -> Iterator[Layer]:
    """Take a set through all layers, in place, showing each layer before its rows move on.

    states:    [N, d], overwritten block by block: what others read was projected before.
    edges:     of the set, or None where each layer makes its own, or there is no mask.
    landmarks: [layers, l] rows of the set, or [layers, l, d] landmarks' states as once recorded.
    apart:     the first rows, as many, do not read each other (of `edges` they have none).
    """
    parts = None if edges is None else blocks_of(edges, states, heads=model.heads)
    for block, chosen in zip(model.layers(), landmarks.to(states.device), strict=True):
        marks = chosen if chosen.is_floating_point() else states[chosen]  # a copy
        source = block.attention.project(states, marks)
        reach = None
        if edges is None and model.mask != "none":
            values, lists = model.affinity_lists(source)
            if apart:
                lists[:apart] = lists_apart(model, source, rows=apart, width=lists.shape[2])
            parts = blocks_of(model.masked_edges(lists), states, heads=model.heads)
            reach = model.affinity_reach(values)
        yield Layer(block, marks, source, reach)
        _advance(block, states, source=source, parts=parts, apart=apart)


def lists_apart(model: NFormer, source: Projected, *, rows: int, width: int) -> Tensor:
    """Return the largest affinities of the first rows with themselves and with those after them.

    returns: [rows, h, width] int64 (Eq. 6); places left free hold the row itself.
    """
    shape = (-1, model.heads, source.keys.shape[1])
    asking, keys = source.asking.view(shape)[:rows], source.keys.view(shape)
    own = torch.arange(rows, device=keys.device)[:, None]
    found = []
    for head in range(model.heads):
        values, index = nearest_of(asking[:, head], keys[rows:, head], k=width)
        itself = torch.linalg.vecdot(asking[:, head], keys[:rows, head])[:, None]
        numbers = torch.cat([own, rows + index], dim=1)
        order = torch.cat([itself, values], dim=1).sort(dim=1, descending=True, stable=True)[1]
        lists = numbers.gather(1, order[:, :width])
        found.append(torch.cat([lists, own.expand(-1, width - lists.shape[1])], dim=1))
    return torch.stack(found, dim=1)


def rows_at_once(states: Tensor) -> int:
    """Return how many rows go through a layer at once."""
    return BLOCK_ROWS if states.device.type == "cpu" else DEVICE_ROWS


def blocks_of(edges: Edges, states: Tensor, *, heads: int) -> list[tuple[slice, Edges]]:
    """Return the edges of each block of rows, what they derive being kept from layer to layer."""
    return [
        (part, edges.block(part.start * heads, part.stop * heads))
        for part in row_blocks(len(states), rows_at_once(states))
    ]


def _advance(
    block: Block,
    states: Tensor,
    *,
    source: Projected,
    parts: list[tuple[slice, Edges]] | None,
    apart: int,
) -> None:
    attention = block.attention
    if parts is None:
        read = attention.read_all(source)
        if apart:
            own, others = (
                source.block(part.start * attention.heads, part.stop * attention.heads)
                for part in (slice(0, apart), slice(apart, len(states)))
            )
            read[:apart] = attention.read_all_of(own, others)
        for part in row_blocks(len(states), rows_at_once(states)):
            states[part] = block(states[part], read[part])
        return
    for part, edges in parts:
        own = source.block(part.start * attention.heads, part.stop * attention.heads)
        states[part] = block(states[part], attention.read(own, source, edges=edges))


def fill_up(query: Tensor) -> Tensor:
    """Return queries filled up with rows of zeros, so that one is multiplied as many are."""
    rows = max(1, -(-len(query) // ROW_MULTIPLE)) * ROW_MULTIPLE
    return functional.pad(query, (0, 0, 0, rows - len(query)))


@contextmanager
def evaluating(model: NFormer) -> Iterator[None]:
    """Switch dropout off for a while."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def fitting_threads(rows: Tensor) -> Iterator[None]:
    """Work on a few rows with one thread: waking another takes longer than its share of the work.

    Measured, one query in a gallery of 19,281 on two cores: 12 ms, with two threads 21.
    """
    threads = torch.get_num_threads()
    few = rows.device.type == "cpu" and len(rows) <= ALONE and threads > 1
    if few:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if few:
            torch.set_num_threads(threads)


def embed(model: NFormer, states: Tensor) -> Tensor:
    """Return the last states as embeddings: the BNNeck with its running statistics."""
    neck = model.bottleneck
    return functional.batch_norm(
        states, neck.running_mean, neck.running_var, neck.weight, neck.bias, eps=neck.eps
    )
