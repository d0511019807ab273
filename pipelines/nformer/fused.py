"""Attention along edges by Triton kernels on a GPU, and by PyTorch's operations elsewhere."""

import subprocess
import warnings
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..neighbours.edges import Edges, edge_dot, edge_softmax, edge_sum
from .projections import Projected

ELEMENTS = 4096  # of keys or values that a program gathers at once: they stay in registers
TOLERANCE = 1e-4  # between the two ways, on the small graph that they are compared on


def read_edges(own: Projected, source: Projected, *, edges: Edges) -> Tensor:
    """Return what each row reads from itself and along its edges: softmax-weighted values.

    own: the reading rows, [R, ·].   source: what can be read, [S, ·].   returns: [R, w].

    On a GPU one kernel gathers, weighs and adds each row's neighbours; a backward pass makes the
    weights again, so nothing as long as the edges is stored. It is the same every time: sources
    gather from their readers, nothing is added atomically.
    """
    if own.asking.dtype == own.values.dtype == torch.float32 and _serves(own.asking.device):
        return read_at_once(own, source, edges=edges)
    return read_in_steps(own, source, edges=edges)


def read_in_steps(own: Projected, source: Projected, *, edges: Edges) -> Tensor:
    """`read_edges` with PyTorch's own operations, on any device."""
    self_logits = torch.linalg.vecdot(own.asking, own.keys)  # [R]
    logits = edge_dot(own.asking, source.keys, edges=edges)  # [E]
    self_weights, weights = edge_softmax(self_logits, logits, edges=edges)
    mixed = edge_sum(weights, source.values, edges=edges)
    return torch.addcmul(mixed, self_weights[:, None], own.values)


def read_at_once(own: Projected, source: Projected, *, edges: Edges) -> Tensor:
    """`read_edges` by the kernels: float32 on a GPU, or on a CPU in Triton's interpreter."""
    return _Fused.apply(own.asking, own.keys, own.values, source.keys, source.values, edges)


def launch_settings(columns: int, width: int) -> dict[str, int]:
    """Return a kernel's constants for keys of `columns` and values of `width` columns."""
    held = [1 << (size - 1).bit_length() for size in (columns, width)]
    edges = max(2, min(16, ELEMENTS // max(held)))
    warps = 4 if max(held) <= 512 else 8
    sizes = {"C": columns, "W": width, "C2": held[0], "W2": held[1], "E2": edges}
    return {**sizes, "num_warps": warps}


@torch.inference_mode(False)
@torch.enable_grad()
def difference_on_a_small_graph(device: torch.device) -> float:
    """Return by how much the kernels' outputs and gradients differ from `read_in_steps`'."""
    generator = torch.Generator().manual_seed(0)
    rows, sources, columns, width = 33, 40, 5, 24
    lists = torch.stack([torch.randperm(sources, generator=generator)[:20] for _ in range(rows)])
    kept = torch.rand(rows, 20, generator=generator) < torch.linspace(0, 1, rows)[:, None]
    lists, kept = lists[:, None].to(device), kept[:, None].to(device)
    edges = Edges.of(lists, kept, heads=1, sources=sources)
    shapes = [(rows, columns)] * 2 + [(rows, width), (sources, columns), (sources, width)]
    parts = [torch.rand(*shape, generator=generator).to(device) for shape in shapes]
    found = []
    for read in (read_at_once, read_in_steps):
        leaves = [part.clone().requires_grad_() for part in parts]
        unread = torch.empty(0, device=device)  # a source asks nothing
        mixed = read(Projected(*leaves[:3]), Projected(unread, *leaves[3:]), edges=edges)
        found.append([mixed.detach(), *torch.autograd.grad(mixed.square().sum(), leaves)])
    return max(float((once - steps).abs().max()) for once, steps in zip(*found, strict=True))


class _Fused(torch.autograd.Function):
    """`read_at_once`: asking, own keys, own values, the sources' keys and values, edges."""

    @staticmethod
    def forward(ctx: Any, *parts_and_edges: Any) -> Tensor:
        from . import kernels

        *parts, edges = parts_and_edges
        parts = [part.contiguous() for part in parts]
        mixed, levels = torch.empty_like(parts[2]), parts[0].new_empty(edges.rows)
        lists = edges.offsets, edges.index
        _launch(kernels.read_rows, edges.rows, *parts, *lists, mixed, levels)
        ctx.save_for_backward(*parts, mixed, levels)
        ctx.edges = edges
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from . import kernels

        *parts, mixed, levels = ctx.saved_tensors
        edges, gradient = ctx.edges, gradient.contiguous()
        to_parts, means = [torch.empty_like(part) for part in parts], torch.empty_like(levels)
        made = mixed, levels, gradient, *to_parts[:3], means
        lists = edges.offsets, edges.index
        _launch(kernels.gradients_of_rows, edges.rows, *parts, *lists, *made)
        readers, _ = edges.transposed
        theirs = parts[0], *parts[3:], readers.offsets, readers.index, levels, gradient, means
        _launch(kernels.gradients_of_sources, edges.sources, *theirs, *to_parts[3:])
        return (*to_parts, None)


def _launch(kernel: Any, programs: int, *tensors: Tensor) -> None:
    """Run a kernel, one program a row; the first matrix has keys' columns, the last values'."""
    widths = [tensor.shape[1] for tensor in tensors if tensor.ndim == 2]
    if programs:
        with torch.cuda.device_of(tensors[0]):
            kernel[(programs,)](*tensors, **launch_settings(widths[0], widths[-1]))


@lru_cache
def _serves(device: torch.device) -> bool:
    """Whether the kernels run here and agree with PyTorch's operations on a small graph."""
    if device.type != "cuda":
        return False
    try:
        from .kernels import TritonError
    except ImportError as error:
        return _do_without(f"Triton cannot be imported ({error})")
    try:
        difference = difference_on_a_small_graph(device)
    except (TritonError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        # no C compiler for its launcher, a GPU that it does not know
        return _do_without(f"{type(error).__name__}: {error}".splitlines()[0])
    if difference > TOLERANCE:
        return _do_without(f"they differ by {difference:.1e} from PyTorch's operations")
    return True


def _do_without(reason: str) -> bool:
    warnings.warn(f"attention runs without its Triton kernels: {reason}", stacklevel=2)
    return False
