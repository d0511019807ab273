"""timm's vision transformer with the patches of re-identification's code bases."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from ..names import require_timm
from .resnets import IBN

PATCH = 16
STEM_WIDTH = 64


class Patches(nn.Module):
    """Images -> overlapping patches' tokens (He et al., ICCV 2021, section 3.2).

    stem: an IBN-based convolution stem before them (ICS; Luo et al., 2021, section 3.4).
    """

    def __init__(
        self,
        *,
        img_size: tuple[int, int],
        embed_dim: int,
        stride: int = PATCH,
        stem: bool = False,
        **_: Any,
    ) -> None:
        super().__init__()
        height, width = ((side - PATCH) // stride + 1 for side in img_size)
        self.num_patches = height * width
        self.conv: nn.Module = ics_stem() if stem else nn.Identity()
        inputs, halving = (STEM_WIDTH, 2) if stem else (3, 1)
        self.proj = nn.Conv2d(inputs, embed_dim, PATCH // halving, stride // halving)

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W].   returns: [B, patches, embed_dim]."""
        return self.proj(self.conv(images)).flatten(2).transpose(1, 2)


def ics_stem() -> nn.Sequential:
    """Return three convolutions, the first of stride 2, with IBN, IBN and batch norm."""
    layers: list[nn.Module] = []
    for inputs, kernel, norm in (
        (3, 7, IBN),
        (STEM_WIDTH, 3, IBN),
        (STEM_WIDTH, 3, nn.BatchNorm2d),
    ):
        stride = 2 if inputs == 3 else 1
        layers += [
            nn.Conv2d(inputs, STEM_WIDTH, kernel, stride, kernel // 2, bias=False),
            norm(STEM_WIDTH),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


def vision_transformer(
    arch: str,
    *,
    size: tuple[int, int],
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    mlp_ratio: float = 4,
    qkv_bias: bool = True,
    scale: float | None = None,
    stride: int = PATCH,
    stem: bool = False,
    parts: int = 0,
) -> nn.Module:
    """Return a timm VisionTransformer from images of a size to its class token, [B, width].

    scale: of the attention's logits, where it is not 1/√(width of a head).
    parts: tokens beside the class token, each with a position of its own.

    Raises:
        BadInput: timm is not installed.
    """
    require_timm(arch)
    from timm.models.vision_transformer import Attention, VisionTransformer

    network = VisionTransformer(
        img_size=size,
        patch_size=PATCH,
        num_classes=0,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        mlp_ratio=mlp_ratio,
        qkv_bias=qkv_bias,
        reg_tokens=parts,
        no_embed_class=bool(parts),
        embed_layer=partial(Patches, stride=stride, stem=stem),
    )
    if scale is not None:
        for module in network.modules():
            if isinstance(module, Attention):
                setattr(module, "fused_attn", False)  # noqa: B010 (final, says timm's annotation)
                module.scale = scale
    return network


def under_base(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a transformer's tensors below `base.`, be they bare or below `backbone.`.

    So its authors' weights from before the re-identification training are read too.
    """
    if any(name.startswith("patch_embed.") for name in given):
        return {f"base.{name}": value for name, value in given.items()}
    return {re.sub("^backbone[.]", "base.", name): value for name, value in given.items()}
