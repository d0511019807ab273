"""Linear layers in bfloat16, and a feed-forward network cut into parts, against plain ones."""

import pytest
import torch
from torch.nn import functional

from pipelines.nformer import linear
from pipelines.nformer.linear import FeedForward, Linear


def both_ways(layer, rows, plain):
    """Return results and gradients of a layer and of a plain function of the same weights."""
    found = []
    for way in (layer, plain):
        layer.zero_grad()
        given = rows.clone().requires_grad_()
        result = way(given)
        (result * torch.arange(result.numel()).view_as(result).sin()).sum().backward()
        gradients = [given.grad, *(part.grad for part in layer.parameters())]
        found.append([result.detach(), *(part.clone() for part in gradients)])
    return found


def plain_feed_forward(layer):
    return lambda rows: functional.linear(
        functional.gelu(
            functional.linear(rows, layer.widen.weight, layer.widen.bias), approximate="tanh"
        ),
        layer.narrow.weight,
        layer.narrow.bias,
    )


@pytest.mark.parametrize("rows", [1, 5, 12])
def test_parts_of_the_feed_forward_network_make_the_whole(monkeypatch, rows):
    monkeypatch.setattr(linear, "PART_ROWS", 5)
    torch.manual_seed(0)
    layer = FeedForward(6)
    for one, other in zip(
        *both_ways(layer, torch.randn(rows, 6), plain_feed_forward(layer)), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-5)


def test_bfloat16_is_near_float32_and_not_equal():
    torch.manual_seed(0)
    layer = Linear(64, 32)
    rows = torch.randn(3, 40, 64)
    layer.rounded = True
    found, expected = both_ways(
        layer, rows, lambda given: functional.linear(given, layer.weight, layer.bias)
    )
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32 and one.shape == other.shape
        assert float((one - other).norm() / other.norm()) < 1e-2
    assert not torch.allclose(found[0], expected[0], rtol=1e-5, atol=1e-5)


def test_a_rounded_feed_forward_network_keeps_its_gradients_in_float32():
    torch.manual_seed(1)
    layer = FeedForward(32)
    layer.widen.rounded = layer.narrow.rounded = True
    for one, other in zip(
        *both_ways(layer, torch.randn(50, 32), plain_feed_forward(layer)), strict=True
    ):
        assert one.dtype == torch.float32
        assert float((one - other).norm() / other.norm()) < 2e-2
