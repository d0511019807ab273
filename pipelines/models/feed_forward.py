"""The feed-forward half of a block, remembering half of what autograd would."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class FeedForward(nn.Module):
    """d -> 4d -> d with the tanh form of GELU between."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.widen, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, rows: Tensor) -> Tensor:
        """rows: [N, d].   returns: [N, d]."""
        result: Tensor = _GeluLinear.apply(self.widen(rows), self.narrow.weight, self.narrow.bias)
        return result


class Dropout(nn.Dropout):
    """Dropout that remembers a byte for an element where `nn.Dropout` on a CPU remembers four."""

    def forward(self, rows: Tensor) -> Tensor:
        """rows: of any shape.   returns: the same."""
        if not self.training or self.p == 0:
            return rows
        return torch.native_dropout(rows, self.p, True)[0]


class _GeluLinear(torch.autograd.Function):
    """linear(gelu(wide)); the activation is computed again in the backward pass, not kept."""

    @staticmethod
    def forward(ctx: Any, wide: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(wide, weight)
        return functional.linear(functional.gelu(wide, approximate="tanh"), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        wide, weight = ctx.saved_tensors
        to_weight = gradient.T @ functional.gelu(wide, approximate="tanh")
        to_wide = torch.ops.aten.gelu_backward(gradient @ weight, wide, approximate="tanh")
        return to_wide, to_weight, gradient.sum(dim=0)
