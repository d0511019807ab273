"""ABD-Net: attention by hand, diversity against exact eigenvalues, and it trains."""

import pytest
import torch
from torch import nn

from pipelines.backbones.abdnet import (
    ChannelAttention,
    PositionAttention,
    feature_spread,
    spectral_difference,
    weight_spread,
)
from pipelines.backbones.backbone import build_backbone
from pipelines.backbones.embedder import Embedder

IMAGES = torch.randn(4, 3, 32, 16, generator=torch.Generator().manual_seed(0))


def opened(attention):
    """Attention begins closed, with gamma 0: open it."""
    nn.init.constant_(attention.gamma, 1.0)
    return attention


@pytest.mark.parametrize("attention", [ChannelAttention(), PositionAttention(16)])
def test_attention_begins_as_the_identity(attention):
    x = torch.randn(2, 16, 3, 2)
    torch.testing.assert_close(attention(x), x)


def test_channel_attention_by_hand():
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).view(1, 2, 2, 1)  # two channels of two positions
    energy = torch.tensor([[1.0, 0.0], [0.0, 4.0]])
    attention = (energy.max(dim=1, keepdim=True).values - energy).softmax(dim=1)
    expected = attention @ x.view(2, 2) + x.view(2, 2)
    torch.testing.assert_close(opened(ChannelAttention())(x).view(2, 2), expected)


def test_position_attention_by_hand():
    module = opened(PositionAttention(8))
    x = torch.randn(1, 8, 2, 2)
    query, key, value = (
        layer(x).view(-1, 4) for layer in (module.query_conv, module.key_conv, module.value_conv)
    )
    expected = torch.empty(8, 4)
    for position in range(4):
        weights = torch.softmax(query[:, position] @ key, dim=0)
        expected[:, position] = value @ weights
    torch.testing.assert_close(module(x).view(8, 4), expected + x.view(8, 4))


def test_orthogonal_rows_have_no_spread():
    assert spectral_difference(3 * torch.eye(6)[None]).abs().item() < 1e-4


def test_the_spread_comes_near_the_eigenvalues_difference():
    torch.manual_seed(0)
    rows = torch.diag(torch.tensor([10.0, 1.0, 1.0, 1.0]))[None]  # eigenvalues 100 and 1
    found = torch.stack([spectral_difference(rows) for _ in range(50)]).median()
    assert found.item() == pytest.approx(99, rel=0.02)


def test_the_penalties_have_gradients_that_make_rows_more_orthogonal():
    torch.manual_seed(0)
    weight = torch.randn(8, 4, 1, 1, requires_grad=True)
    before = torch.linalg.cond(weight.detach().flatten(1)[:4])
    optimizer = torch.optim.SGD([weight], lr=1e-3)
    for _ in range(300):
        optimizer.zero_grad()
        weight_spread(weight.transpose(0, 1)).backward()
        optimizer.step()
    assert torch.linalg.cond(weight.detach().flatten(1)) < 1.5 < before


def test_the_features_penalty_counts_32_images():
    torch.manual_seed(0)
    maps = torch.randn(1, 4, 3, 3)
    one = torch.stack([feature_spread(maps) for _ in range(200)]).mean()
    many = torch.stack([feature_spread(maps.expand(8, -1, -1, -1)) for _ in range(200)]).mean()
    assert one.item() == pytest.approx(many.item(), rel=0.1)


def test_it_trains_with_its_diversity_and_embeds():
    torch.manual_seed(0)
    backbone = build_backbone("abdnet", classes=3, dim=16).train()
    output = backbone(IMAGES)
    diversity = backbone.body.diversity()
    assert torch.isfinite(diversity) and diversity > 0
    (output.logits.square().mean() + diversity).backward()
    assert all(p.grad is not None for p in backbone.body.layer4.parameters())
    backbone.eval()
    embedder = Embedder(backbone, device=torch.device("cpu"), dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(embedder(IMAGES), backbone(IMAGES), rtol=1e-3, atol=1e-3)


def test_diversity_is_of_a_forward_in_training():
    backbone = build_backbone("abdnet", classes=3).eval()
    with torch.no_grad():
        backbone(IMAGES[:1])
    with pytest.raises(AssertionError):
        backbone.body.diversity()
