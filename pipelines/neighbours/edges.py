"""A sparse graph, and the two products along its edges of which attention consists."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

BLOCK_EDGES = 8192  # rows gathered at once on a CPU: two blocks of 128 columns stay in the cache
BLOCK_ELEMENTS = 1 << 26  # elements gathered at once elsewhere


@dataclass(frozen=True, eq=False)
class Edges:
    """Who reads whom, row by row (compressed sparse rows). Rows' own edges are not among them.

    A graph of several heads has `heads` times as many rows: row i of head h is i·heads + h.

    offsets: [R + 1] int64, where each row's edges begin; the last is E.
    index:   [E] int64, the row of the source at each edge's far end.
    sources: the number S of rows that can be read.
    width:   the largest number of edges of a row.
    """

    offsets: Tensor
    index: Tensor
    sources: int
    width: int

    @staticmethod
    def of(neighbours: Tensor, kept: Tensor, *, heads: int, sources: int) -> "Edges":
        """Build the edges of `heads` heads from padded lists.

        neighbours, kept: [N, H, K] int64 and bool, H being 1 (shared by the heads) or `heads`.
        """
        rows, _, width = neighbours.shape
        neighbours = neighbours.expand(rows, heads, width)
        kept = kept.expand(rows, heads, width)
        of_head = torch.arange(heads, device=neighbours.device)[:, None]
        index = (neighbours * heads + of_head)[kept]  # [E]
        offsets = index.new_zeros(rows * heads + 1)
        torch.cumsum(kept.sum(dim=2).flatten(), dim=0, out=offsets[1:])
        return Edges(offsets, index, sources * heads, width)

    def __len__(self) -> int:
        """Return the number of edges E."""
        return len(self.index)

    @property
    def rows(self) -> int:
        """The number R of rows that read."""
        return len(self.offsets) - 1

    @cached_property
    def row_of(self) -> Tensor:
        """[E] int64: the row that each edge belongs to."""
        counts = self.offsets.diff()
        rows = torch.arange(self.rows, device=self.index.device)
        return torch.repeat_interleave(rows, counts, output_size=len(self))

    @cached_property
    def slots(self) -> Tensor:
        """[E] int64: each edge's place in a padded [R, 1 + width], the first column being free."""
        within = torch.arange(len(self), device=self.index.device) - self.offsets[self.row_of]
        return self.row_of * (1 + self.width) + within + 1

    @cached_property
    def transposed(self) -> tuple["Edges", Tensor]:
        """The same edges seen from the sources, and the place of each of those among ours."""
        sources, order = torch.sort(self.index, stable=True)
        offsets = torch.searchsorted(
            sources, torch.arange(self.sources + 1, device=self.index.device)
        )
        return Edges(offsets, self.row_of[order], self.rows, 0), order

    def block(self, start: int, stop: int) -> "Edges":
        """Return the edges of the rows from `start` up to `stop`."""
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        offsets = self.offsets[start : stop + 1] - first
        return Edges(offsets, self.index[first:last], self.sources, self.width)


def edge_dot(rows: Tensor, sources: Tensor, *, edges: Edges) -> Tensor:
    """Return the inner product of the two ends of every edge.

    rows: [R, c].   sources: [S, c].   returns: [E].
    """
    return _EdgeDot.apply(rows, sources, edges)


def edge_sum(weights: Tensor, sources: Tensor, *, edges: Edges) -> Tensor:
    """Return for every row the weighted sum of the sources that it reads.

    weights: [E].   sources: [S, c].   returns: [R, c].
    """
    return _EdgeSum.apply(weights, sources, edges)


def edge_softmax(own: Tensor, logits: Tensor, *, edges: Edges) -> tuple[Tensor, Tensor]:
    """Return the softmax over each row's own edge and its edges.

    own: [R], the logits of the own edges.   logits: [E].   returns: weights [R] and [E].
    """
    padded = own.new_full((edges.rows, 1 + edges.width), -torch.inf)
    padded = padded.index_copy(1, edges.index.new_zeros(1), own[:, None])
    padded = padded.flatten().index_copy(0, edges.slots, logits)
    weights = padded.view(edges.rows, 1 + edges.width).softmax(dim=1)
    return weights[:, 0], weights.flatten().index_select(0, edges.slots)


class _EdgeDot(torch.autograd.Function):
    """`edge_dot`; its gradients are weighted sums along the edges and against them."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sources: Tensor, edges: Edges) -> Tensor:
        ctx.save_for_backward(rows, sources)
        ctx.edges = edges
        return _dot(rows, sources, edges=edges)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gradient,) = gradients
        rows, sources = ctx.saved_tensors
        need_rows, need_sources, _ = ctx.needs_input_grad
        to_rows = _sum(gradient, sources, edges=ctx.edges) if need_rows else None
        return to_rows, _sum_back(gradient, rows, edges=ctx.edges) if need_sources else None, None


class _EdgeSum(torch.autograd.Function):
    """`edge_sum`; its gradient to the weights is `edge_dot`."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, sources: Tensor, edges: Edges) -> Tensor:
        ctx.save_for_backward(weights, sources)
        ctx.edges = edges
        return _sum(weights, sources, edges=edges)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        gradient = gradients[0].contiguous()
        weights, sources = ctx.saved_tensors
        need_weights, need_sources, _ = ctx.needs_input_grad
        to_weights = _dot(gradient, sources, edges=ctx.edges) if need_weights else None
        return (
            to_weights,
            _sum_back(weights, gradient, edges=ctx.edges) if need_sources else None,
            None,
        )


def _dot(rows: Tensor, sources: Tensor, *, edges: Edges) -> Tensor:
    """Inner products in blocks of edges: two gathered [block, c] are all the memory it takes."""
    result = rows.new_empty(len(edges))
    block = BLOCK_EDGES if rows.device.type == "cpu" else BLOCK_ELEMENTS // rows.shape[1]
    for start in range(0, len(edges), block):
        part = slice(start, start + block)
        near = rows.index_select(0, edges.row_of[part])
        far = sources.index_select(0, edges.index[part])
        result[part] = torch.linalg.vecdot(near, far)
    return result


def _sum(weights: Tensor, sources: Tensor, *, edges: Edges) -> Tensor:
    """Gather, weight and add in one pass: `embedding_bag` never stores what it gathers."""
    return functional.embedding_bag(
        edges.index,
        sources,
        edges.offsets,
        mode="sum",
        per_sample_weights=weights,
        include_last_offset=True,
    )


def _sum_back(weights: Tensor, rows: Tensor, *, edges: Edges) -> Tensor:
    transposed, order = edges.transposed
    return _sum(weights[order], rows, edges=transposed)
