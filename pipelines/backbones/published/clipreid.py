"""CLIP-ReID (Li et al., AAAI 2023; github.com/Syliz517/CLIP-ReID): CLIP's image encoders."""

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...preprocessing import Preprocessing
from .entry import Published

PATCH = STRIDE = 16
VIT = {"width": 768, "projected": 512, "depth": 12, "heads": 12}
RESNET_WIDTH, RESNET_PROJECTED, RESNET_HEADS = 2048, 1024, 32
STAGES = (3, 4, 6, 3)
STEM = 64
SIE_WEIGHT = 1.0  # SIE_COE of their configurations


class QuickGELU(nn.Module):
    """CLIP's approximation of GELU."""

    def forward(self, x: Tensor) -> Tensor:
        """x, returns: any shape."""
        return x * (1.702 * x).sigmoid()


class AttentionBlock(nn.Module):
    """A transformer block with its norms first."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(
                c_fc=nn.Linear(width, 4 * width),
                gelu=QuickGELU(),
                c_proj=nn.Linear(4 * width, width),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """x, returns: [B, tokens, width]."""
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """CLIP's transformer: [B, 3, H, W] -> the class token, [B, 768], and projected, [B, 512]."""

    def __init__(self, size: tuple[int, int], *, stride: int) -> None:
        super().__init__()
        width = VIT["width"]
        height, across = ((side - PATCH) // stride + 1 for side in size)
        self.conv1 = nn.Conv2d(3, width, PATCH, stride, bias=False)
        self.class_embedding = nn.Parameter(width**-0.5 * torch.randn(width))
        self.positional_embedding = nn.Parameter(
            width**-0.5 * torch.randn(height * across + 1, width)
        )
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        blocks = (AttentionBlock(width, heads=VIT["heads"]) for _ in range(VIT["depth"]))
        self.transformer = nn.Sequential(OrderedDict(resblocks=nn.Sequential(*blocks)))
        self.proj = nn.Parameter(width**-0.5 * torch.randn(width, VIT["projected"]))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images: [B, 3, H, W].   returns: [B, 768] and [B, 512]."""
        patches = self.conv1(images).flatten(2).transpose(1, 2)  # [B, patches, 768]
        whole = self.class_embedding.expand(patches.shape[0], 1, -1)
        x = torch.cat([whole, patches], dim=1) + self.positional_embedding
        token = self.ln_post(self.transformer(self.ln_pre(x))[:, 0])
        return token, token @ self.proj


class Bottleneck(nn.Module):
    """A residual block that halves by average pooling, not by a stride."""

    def __init__(self, inputs: int, middle: int, *, stride: int) -> None:
        super().__init__()
        outputs = 4 * middle
        self.conv1 = nn.Conv2d(inputs, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.avgpool = nn.AvgPool2d(stride)
        self.conv3 = nn.Conv2d(middle, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            layers = {
                "-1": nn.AvgPool2d(stride),
                "0": nn.Conv2d(inputs, outputs, 1, bias=False),
                "1": nn.BatchNorm2d(outputs),
            }
            self.downsample = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, inputs, H, W].   returns: [B, 4 · middle, H/stride, W/stride]."""
        y = self.bn1(self.conv1(x)).relu()
        y = self.avgpool(self.bn2(self.conv2(y)).relu())
        return (self.bn3(self.conv3(y)) + self.downsample(x)).relu()


class AttentionPool(nn.Module):
    """The mean of all positions asks each position: [B, 2048, h, w] -> [B, 1024]."""

    def __init__(self, positions: int) -> None:
        super().__init__()
        width = RESNET_WIDTH
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(positions + 1, width))
        self.k_proj, self.q_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.c_proj = nn.Linear(width, width), nn.Linear(width, RESNET_PROJECTED)

    def forward(self, maps: Tensor) -> Tensor:
        """maps: [B, 2048, h, w].   returns: [B, 1024]."""
        x = maps.flatten(2).transpose(1, 2)  # [B, hw, 2048]
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.positional_embedding

        def heads(y: Tensor) -> Tensor:
            return y.unflatten(2, (RESNET_HEADS, -1)).transpose(1, 2)  # [B, 32, tokens, 64]

        queries = heads(self.q_proj(x[:, :1]))
        keys, values = heads(self.k_proj(x)), heads(self.v_proj(x))
        found = functional.scaled_dot_product_attention(queries, keys, values)  # [B, 32, 1, 64]
        return self.c_proj(found.flatten(1))


class ModifiedResNet(nn.Module):
    """CLIP's ResNet-50, its last stage at stride 1: [B, 3, H, W] -> [B, 2048] and [B, 1024]."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        half = STEM // 2
        stem = ((3, half, 2), (half, half, 1), (half, STEM, 1))
        for number, (inputs, outputs, stride) in enumerate(stem, start=1):
            conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
            self.add_module(f"conv{number}", conv)
            self.add_module(f"bn{number}", nn.BatchNorm2d(outputs))
        self.avgpool = nn.AvgPool2d(2)
        inputs = STEM
        for stage, blocks in enumerate(STAGES):
            middle = STEM << stage
            stride = 2 if stage in (1, 2) else 1
            first = Bottleneck(inputs, middle, stride=stride)
            inputs = 4 * middle
            others = (Bottleneck(inputs, middle, stride=1) for _ in range(blocks - 1))
            self.add_module(f"layer{stage + 1}", nn.Sequential(first, *others))
        self.attnpool = AttentionPool((size[0] // STRIDE) * (size[1] // STRIDE))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images: [B, 3, H, W].   returns: [B, 2048] and [B, 1024]."""
        x = images
        for number in (1, 2, 3):
            norm = self.get_submodule(f"bn{number}")
            x = norm(self.get_submodule(f"conv{number}")(x)).relu()
        x = self.avgpool(x)
        for stage in range(len(STAGES)):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x.mean(dim=(2, 3)), self.attnpool(x)


class CLIPReID(nn.Module):
    """Images -> the encoder's feature and its projection, concatenated, [B, 1280] or [B, 3072].

    encoder: from images to two features, of these widths.
    """

    def __init__(self, encoder: nn.Module, *, widths: tuple[int, int], feature: str) -> None:
        super().__init__()
        self.image_encoder = encoder
        after = feature == "after"
        self.bottleneck = nn.BatchNorm1d(widths[0]) if after else nn.Identity()
        self.bottleneck_proj = nn.BatchNorm1d(widths[1]) if after else nn.Identity()
        self.aside = ("text_encoder.", "prompt_learner.")

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W].   returns: [B, both widths]."""
        found, projected = self.image_encoder(images)
        return torch.cat([self.bottleneck(found), self.bottleneck_proj(projected)], dim=1)


def without_cameras(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a network that knows no camera: the mean of their embeddings is added.

    CLIP-ReID adds a camera's embedding to the class token alone, its authors' test that of the
    camera that took the picture.
    """
    found = dict(given)
    cameras = found.pop("cv_embed", None)  # [cameras, 768]
    token = "image_encoder.class_embedding"
    if cameras is not None and token in found:
        found[token] = found[token] + SIE_WEIGHT * cameras.float().mean(dim=0)
    return found


ORIGIN = "Li et al., AAAI 2023; github.com/Syliz517/CLIP-ReID"
TEST = Preprocessing()
HALF = (0.5, 0.5, 0.5)


def _vit(*, size: tuple[int, int], feature: str = "before", stride: int = STRIDE) -> nn.Module:
    widths = VIT["width"], VIT["projected"]
    return CLIPReID(Transformer(size, stride=stride), widths=widths, feature=feature)


def _resnet(*, size: tuple[int, int], feature: str = "before") -> nn.Module:
    widths = RESNET_WIDTH, RESNET_PROJECTED
    return CLIPReID(ModifiedResNet(size), widths=widths, feature=feature)


NETWORKS = {
    **{
        name: Published(
            build=build,
            preprocessing=Preprocessing(mean=HALF, std=HALF),
            origin=ORIGIN,
            features=("before", "after"),
            rename=without_cameras,
        )
        for name, build in (
            ("clipreid:vit", _vit),
            ("clipreid:vit_s12", partial(_vit, stride=12)),
        )
    },
    "clipreid:rn50": Published(
        build=_resnet, preprocessing=TEST, origin=ORIGIN, features=("before", "after")
    ),
}
