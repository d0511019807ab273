"""Linear layers that may multiply in bfloat16; inputs and outputs are float32."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Linear(nn.Linear):
    """`nn.Linear`, multiplying in bfloat16, forward and backward, while `rounded` is set."""

    rounded = False

    @property
    def product_type(self) -> torch.dtype:
        """The type in which it multiplies."""
        return torch.bfloat16 if self.rounded else self.weight.dtype

    def forward(self, rows: Tensor) -> Tensor:
        """rows: [..., c].   returns: [..., d]."""
        if not self.rounded:
            return super().forward(rows)
        flat: Tensor = _HalfLinear.apply(rows.flatten(0, -2), self.weight, self.bias)
        return flat.view(*rows.shape[:-1], self.out_features)


class _HalfLinear(torch.autograd.Function):
    """rows @ weightᵀ + bias in bfloat16."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        rows, weight, bias = (part.bfloat16() for part in (rows, weight, bias))
        ctx.save_for_backward(rows, weight)
        return torch.addmm(bias, rows, weight.T).float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        rows, weight = ctx.saved_tensors
        half = gradient.bfloat16()
        to_rows = (half @ weight).float() if ctx.needs_input_grad[0] else None
        return to_rows, (half.T @ rows).float(), gradient.sum(dim=0)
