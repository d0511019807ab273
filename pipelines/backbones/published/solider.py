"""SOLIDER (Chen et al., CVPR 2023; github.com/tinyvision/SOLIDER-REID): a weighted Swin."""

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...preprocessing import Preprocessing
from .entry import Published
from .vit import under_base

WINDOW = 7
SHIFT = WINDOW // 2
PATCH = 4
SEMANTIC_WEIGHT = 0.2  # MODEL.SEMANTIC_WEIGHT of their test command
FORBIDDEN = -100.0  # added to the logits of tokens that a shift made neighbours
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"width": 96, "depths": (2, 2, 6, 2)},
    "small": {"width": 96, "depths": (2, 2, 18, 2)},
    "base": {"width": 128, "depths": (2, 2, 18, 2)},
}
HEAD_WIDTH = 32


class WindowAttention(nn.Module):
    """Attention within 7 × 7 windows, shifted or not, tensors as mmdetection names them.

    Unlike timm's and torchvision's, it pads maps that are smaller than a window, and shifts them.
    """

    def __init__(self, width: int, *, shifted: bool) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.shift = SHIFT if shifted else 0
        self.w_msa: Any = nn.Module()
        places = (2 * WINDOW - 1) ** 2
        table = nn.Parameter(torch.zeros(places, self.heads))
        self.w_msa.relative_position_bias_table = table
        self.w_msa.qkv = nn.Linear(width, 3 * width)
        self.w_msa.proj = nn.Linear(width, width)
        along = torch.arange(WINDOW, device="cpu")
        rows, columns = (one.flatten() for one in torch.meshgrid(along, along, indexing="ij"))
        apart = [line[:, None] - line[None, :] + WINDOW - 1 for line in (rows, columns)]
        index = apart[0] * (2 * WINDOW - 1) + apart[1]  # [49, 49]
        self.index: Tensor
        self.register_buffer("index", index, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x, returns: [B, H, W, C]."""
        height, width = x.shape[1:3]
        x = functional.pad(x, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        batch, padded_height, padded_width, channels = x.shape
        x = x.roll((-self.shift, -self.shift), dims=(1, 2))
        windows = _windows(x)  # [B, windows, 49, C]
        qkv = self.w_msa.qkv(windows).unflatten(3, (3, self.heads, HEAD_WIDTH))
        queries, keys, values = qkv.permute(3, 0, 1, 4, 2, 5)  # each [B, windows, heads, 49, 32]
        bias = self.w_msa.relative_position_bias_table[self.index].permute(2, 0, 1)
        if self.shift:  # [windows, heads, 49, 49]
            bias = bias + _mask(padded_height, padded_width, like=x)[:, None]
        found = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        found = self.w_msa.proj(found.transpose(2, 3).flatten(3))  # [B, windows, 49, C]
        shape = (batch, padded_height // WINDOW, padded_width // WINDOW, WINDOW, WINDOW, channels)
        x = found.view(shape).transpose(2, 3).reshape(x.shape)
        return x.roll((self.shift, self.shift), dims=(1, 2))[:, :height, :width]


def _windows(x: Tensor) -> Tensor:
    """x: [B, H, W, C], multiples of 7.   returns: [B, H/7 · W/7, 49, C]."""
    parts = x.unflatten(2, (-1, WINDOW)).unflatten(1, (-1, WINDOW))  # [B, H/7, 7, W/7, 7, C]
    return parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _mask(height: int, width: int, *, like: Tensor) -> Tensor:
    """Return what forbids attention between tokens that the shift brought together.

    returns: [windows, 49, 49], 0 or -100.
    """

    def region(length: int) -> Tensor:
        place = torch.arange(length, device=like.device)
        return (place >= length - WINDOW).long() + (place >= length - SHIFT).long()

    regions = 3 * region(height)[:, None] + region(width)[None, :]  # [H, W]
    labels = _windows(regions[None, :, :, None])[0, :, :, 0]  # [windows, 49]
    apart = labels[:, :, None] != labels[:, None, :]
    return apart.to(like.dtype) * FORBIDDEN


class SwinBlock(nn.Module):
    """Window attention and a feed-forward part, norms first."""

    def __init__(self, width: int, *, shifted: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = WindowAttention(width, shifted=shifted)
        inner = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU())
        layers = nn.Sequential(inner, nn.Linear(4 * width, width))
        self.ffn = nn.Sequential(OrderedDict(layers=layers))

    def forward(self, x: Tensor) -> Tensor:
        """x, returns: [B, H, W, C]."""
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class Merging(nn.Module):
    """Four neighbours become one token of twice the width: [B, H, W, C] -> [B, H/2, W/2, 2C].

    The four are interleaved channel by channel, as nn.Unfold has them.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, H, W, C].   returns: [B, ⌈H/2⌉, ⌈W/2⌉, 2C]."""
        x = functional.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        parts = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # [B, H/2, 2, W/2, 2, C]
        return self.reduction(self.norm(parts.permute(0, 1, 3, 5, 2, 4).flatten(3)))


class Stage(nn.Module):
    """Blocks, every second one shifted, and the merging after them."""

    def __init__(self, width: int, *, depth: int, merging: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(SwinBlock(width, shifted=place % 2 == 1) for place in range(depth))
        )
        self.downsample = Merging(width) if merging else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, H, W, C].   returns: [B, H/2, W/2, 2C], of the last stage [B, H, W, C]."""
        return self.downsample(self.blocks(x))


class SemanticSwin(nn.Module):
    """A Swin transformer whose stages' outputs are scaled and shifted by the semantic weight.

    What the authors' network has beside (norms of the first stages, the last stage's scale) does
    not enter the feature.
    """

    def __init__(self, *, width: int, depths: tuple[int, ...]) -> None:
        super().__init__()
        projection = nn.Conv2d(3, width, PATCH, PATCH)
        layers = OrderedDict(projection=projection, norm=nn.LayerNorm(width))
        self.patch_embed = nn.ModuleDict(layers)
        last = len(depths) - 1
        self.widths = [width << stage for stage in range(len(depths))]
        self.stages = nn.ModuleList(
            Stage(self.widths[stage], depth=depth, merging=stage < last)
            for stage, depth in enumerate(depths)
        )
        self.semantic_embed_w = nn.ModuleList(nn.Linear(2, wide) for wide in self.widths[1:])
        self.semantic_embed_b = nn.ModuleList(nn.Linear(2, wide) for wide in self.widths[1:])
        self.norm3 = nn.LayerNorm(self.widths[-1])

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W].   returns: [B, 8 · width]."""
        bottom, right = (-side % PATCH for side in images.shape[2:])
        x = self.patch_embed["projection"](functional.pad(images, (0, right, 0, bottom)))
        x = self.patch_embed["norm"](x.permute(0, 2, 3, 1))  # [B, H/4, W/4, width]
        weight = x.new_tensor([SEMANTIC_WEIGHT, 1 - SEMANTIC_WEIGHT])
        for place, stage in enumerate(self.stages):
            x = stage(x)
            if place < len(self.semantic_embed_w):
                scale = functional.softplus(self.semantic_embed_w[place](weight))
                x = x * scale + self.semantic_embed_b[place](weight)
        return self.norm3(x).mean(dim=(1, 2))


class SOLIDER(nn.Module):
    """Images -> the pooled feature, [B, 768] or [B, 1024], before the neck or after it."""

    def __init__(self, *, width: int, depths: tuple[int, ...], feature: str) -> None:
        super().__init__()
        self.base = SemanticSwin(width=width, depths=depths)
        wide = self.base.widths[-1]
        self.bottleneck = nn.BatchNorm1d(wide) if feature == "after" else nn.Identity()
        last = len(depths) - 1
        unused = (f"semantic_embed_{kind}.{last}." for kind in "wb")
        norms = (f"norm{stage}." for stage in range(last))
        self.aside = tuple(f"base.{name}" for name in (*unused, *norms))

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W].   returns: [B, 8 · width]."""
        return self.bottleneck(self.base(images))


def _entry(settings: dict[str, Any]) -> Published:
    def build(*, size: tuple[int, int], feature: str = "before") -> nn.Module:
        return SOLIDER(feature=feature, **settings)

    half = (0.5, 0.5, 0.5)
    return Published(
        build=build,
        preprocessing=Preprocessing(height=384, width=128, mean=half, std=half),
        origin="Chen et al., CVPR 2023; github.com/tinyvision/SOLIDER-REID",
        features=("before", "after"),
        rename=under_base,
    )


NETWORKS = {f"solider:swin_{name}": _entry(settings) for name, settings in SIZES.items()}
