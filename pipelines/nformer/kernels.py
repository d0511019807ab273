"""Triton kernels of attention along edges: each program handles one row from end to end.

All matrices are float32 and contiguous; `offsets` and `index` are an `Edges`' int64 lists.
C is the columns of `asking` and `keys`, W those of the values; C2 and W2 are the powers of two that
hold them, and E2 the edges in registers at once.
"""

import triton
import triton.language as tl
from triton.errors import TritonError

__all__ = ["TritonError", "gradients_of_rows", "gradients_of_sources", "read_rows"]


@triton.jit
def read_rows(
    asking, own_keys, own_values, keys, values, offsets, index, mixed, levels,
    C: tl.constexpr, W: tl.constexpr, C2: tl.constexpr, W2: tl.constexpr, E2: tl.constexpr,
):  # fmt: skip
    """Read along each row's edges: its mixture [R, W], and the log of its softmax's sum [R]."""
    row = tl.program_id(0).to(tl.int64)
    c, w, e = tl.arange(0, C2), tl.arange(0, W2), tl.arange(0, E2)
    ask = tl.load(asking + row * C + c, mask=c < C, other=0.0)
    largest = tl.sum(ask * tl.load(own_keys + row * C + c, mask=c < C, other=0.0))
    total = tl.exp(largest - largest)
    mixture = tl.load(own_values + row * W + w, mask=w < W, other=0.0)
    last = tl.load(offsets + row + 1)
    for start in range(tl.load(offsets + row), last, E2):
        here = start + e < last
        far = tl.load(index + start + e, mask=here, other=0)[:, None]
        key = tl.load(keys + far * C + c, mask=here[:, None] & (c < C), other=0.0)
        value = tl.load(values + far * W + w, mask=here[:, None] & (w < W), other=0.0)
        logits = tl.where(here, tl.sum(key * ask, axis=1), -float("inf"))
        top = tl.maximum(largest, tl.max(logits, axis=0))
        fade, weights = tl.exp(largest - top), tl.exp(logits - top)
        mixture = mixture * fade + tl.sum(weights[:, None] * value, axis=0)
        total = total * fade + tl.sum(weights, axis=0)
        largest = top
    tl.store(mixed + row * W + w, mixture / total, mask=w < W)
    tl.store(levels + row, largest + tl.log(total))


@triton.jit
def gradients_of_rows(
    asking, own_keys, own_values, keys, values, offsets, index, mixed, levels, gradient,
    to_asking, to_own_keys, to_own_values, means,
    C: tl.constexpr, W: tl.constexpr, C2: tl.constexpr, W2: tl.constexpr, E2: tl.constexpr,
):  # fmt: skip
    """Give each row the gradients of what it brought itself, and of its weights the mean [R]."""
    row = tl.program_id(0).to(tl.int64)
    c, w, e = tl.arange(0, C2), tl.arange(0, W2), tl.arange(0, E2)
    ask = tl.load(asking + row * C + c, mask=c < C, other=0.0)
    slope = tl.load(gradient + row * W + w, mask=w < W, other=0.0)
    mean = tl.sum(slope * tl.load(mixed + row * W + w, mask=w < W, other=0.0))
    level = tl.load(levels + row)
    own_key = tl.load(own_keys + row * C + c, mask=c < C, other=0.0)
    own_value = tl.load(own_values + row * W + w, mask=w < W, other=0.0)
    own_weight = tl.exp(tl.sum(ask * own_key) - level)
    own_slope = own_weight * (tl.sum(slope * own_value) - mean)  # of the own edge's logit
    to_ask = own_slope * own_key
    last = tl.load(offsets + row + 1)
    for start in range(tl.load(offsets + row), last, E2):
        here = start + e < last
        far = tl.load(index + start + e, mask=here, other=0)[:, None]
        key = tl.load(keys + far * C + c, mask=here[:, None] & (c < C), other=0.0)
        value = tl.load(values + far * W + w, mask=here[:, None] & (w < W), other=0.0)
        weights = tl.where(here, tl.exp(tl.sum(key * ask, axis=1) - level), 0.0)
        slopes = weights * (tl.sum(value * slope, axis=1) - mean)
        to_ask += tl.sum(slopes[:, None] * key, axis=0)
    tl.store(to_asking + row * C + c, to_ask, mask=c < C)
    tl.store(to_own_keys + row * C + c, own_slope * ask, mask=c < C)
    tl.store(to_own_values + row * W + w, own_weight * slope, mask=w < W)
    tl.store(means + row, mean)


@triton.jit
def gradients_of_sources(
    asking, keys, values, offsets, index, levels, gradient, means, to_keys, to_values,
    C: tl.constexpr, W: tl.constexpr, C2: tl.constexpr, W2: tl.constexpr, E2: tl.constexpr,
):  # fmt: skip
    """Gather each source's gradients from its readers; `offsets` and `index` are transposed."""
    row = tl.program_id(0).to(tl.int64)
    c, w, e = tl.arange(0, C2), tl.arange(0, W2), tl.arange(0, E2)
    key = tl.load(keys + row * C + c, mask=c < C, other=0.0)
    value = tl.load(values + row * W + w, mask=w < W, other=0.0)
    to_key, to_value = tl.zeros((C2,), tl.float32), tl.zeros((W2,), tl.float32)
    last = tl.load(offsets + row + 1)
    for start in range(tl.load(offsets + row), last, E2):
        here = start + e < last
        reader = tl.load(index + start + e, mask=here, other=0)
        level, mean = tl.load(levels + reader), tl.load(means + reader)
        reader = reader[:, None]
        ask = tl.load(asking + reader * C + c, mask=here[:, None] & (c < C), other=0.0)
        slope = tl.load(gradient + reader * W + w, mask=here[:, None] & (w < W), other=0.0)
        weights = tl.where(here, tl.exp(tl.sum(ask * key, axis=1) - level), 0.0)
        slopes = weights * (tl.sum(slope * value, axis=1) - mean)
        to_key += tl.sum(slopes[:, None] * ask, axis=0)
        to_value += tl.sum(weights[:, None] * slope, axis=0)
    tl.store(to_keys + row * C + c, to_key, mask=c < C)
    tl.store(to_values + row * W + w, to_value, mask=w < W)
