"""The feed-forward half of a block, by parts of rows, keeping few activations for training."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..embeddings import row_blocks
from .linear import Linear

PART_ROWS = 2048  # whose activations stay in a CPU's cache


class FeedForward(nn.Module):
    """d -> 4d -> d with the tanh form of GELU between."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.widen, self.narrow = Linear(dim, 4 * dim), Linear(4 * dim, dim)

    def forward(self, rows: Tensor) -> Tensor:
        """rows: [N, d].   returns: [N, d]."""
        widen, narrow = self.widen, self.narrow
        return _FeedForward.apply(
            rows, widen.weight, widen.bias, narrow.weight, narrow.bias, widen.product_type
        )


class Dropout(nn.Dropout):
    """Dropout that remembers a byte for an element where `nn.Dropout` on a CPU remembers four."""

    def forward(self, rows: Tensor) -> Tensor:
        """rows: of any shape.   returns: the same."""
        if not self.training or self.p == 0:
            return rows
        return torch.native_dropout(rows, self.p, True)[0]


class _FeedForward(torch.autograd.Function):
    """narrow(gelu(widen(rows))), part by part; the activation is made again, not kept."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, *weights_and_type: Any) -> Tensor:
        *weights, product_type = weights_and_type
        widen, widen_bias, narrow, bias = (weight.to(product_type) for weight in weights)
        parts, result = _parts(rows), torch.empty_like(rows)
        active = widen.new_empty(_largest(parts), len(widen))
        keep = any(ctx.needs_input_grad)
        wide = widen.new_empty(len(rows), len(widen)) if keep else torch.empty_like(active)
        for part in parts:
            count = part.stop - part.start
            here = wide[part] if keep else wide[:count]
            torch.addmm(widen_bias, rows[part].to(product_type), widen.T, out=here)
            torch.ops.aten.gelu.out(here, approximate="tanh", out=active[:count])
            result[part] = torch.addmm(bias, active[:count], narrow.T)
        if keep:
            ctx.save_for_backward(rows, wide, widen, narrow)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, wide, widen, narrow = ctx.saved_tensors
        parts, to_rows = _parts(rows), torch.empty_like(rows)
        to_widen, to_narrow = rows.new_zeros(widen.shape), rows.new_zeros(narrow.shape)
        to_bias = rows.new_zeros(len(widen))
        active = wide.new_empty(_largest(parts), len(widen))
        for part in parts:
            here, asked = active[: part.stop - part.start], gradient[part].to(wide.dtype)
            torch.ops.aten.gelu.out(wide[part], approximate="tanh", out=here)
            to_narrow += asked.T @ here
            torch.ops.aten.gelu_backward.grad_input(
                asked @ narrow, wide[part], approximate="tanh", grad_input=here
            )
            to_widen += here.T @ rows[part].to(wide.dtype)
            to_bias += here.sum(dim=0)
            to_rows[part] = here @ widen
        return to_rows, to_widen, to_bias, to_narrow, gradient.sum(dim=0), None


def _parts(rows: Tensor) -> list[slice]:
    size = PART_ROWS if rows.device.type == "cpu" else max(1, len(rows))
    return list(row_blocks(len(rows), size))


def _largest(parts: list[slice]) -> int:
    return max((part.stop - part.start for part in parts), default=0)
