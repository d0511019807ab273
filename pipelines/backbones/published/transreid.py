"""TransReID (He et al., ICCV 2021), its SSL (Luo et al., 2021), PASS (Zhu et al., ECCV 2022)."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ...preprocessing import Preprocessing
from .entry import Published
from .vit import under_base, vision_transformer

HALF = (0.5, 0.5, 0.5)
TEST = Preprocessing(mean=HALF, std=HALF)  # bilinear: bicubic is for training alone
SIE_WEIGHT = 3.0  # SIE_COE of every published configuration
PARTS = 3
BASE: dict[str, Any] = {}
SMALL = {"width": 384, "heads": 6}
# Their ViT-S is timm's of 2020.
OLD_SMALL = {"depth": 8, "heads": 8, "mlp_ratio": 3, "qkv_bias": False, "scale": 768**-0.5}


class TransReID(nn.Module):
    """Images -> the class token, [B, width], before the neck or after it."""

    def __init__(self, base: Any, *, feature: str) -> None:
        super().__init__()
        self.base = base
        after = feature == "after"
        self.bottleneck = nn.BatchNorm1d(base.embed_dim) if after else nn.Identity()
        self.aside = ("b2.",)  # of the jigsaw branches (JPM)

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W].   returns: [B, width]."""
        return self.bottleneck(self.base(images))


class PASS(nn.Module):
    """Images -> the class token and the mean of three part tokens, [B, 2 · width]."""

    def __init__(self, base: Any, *, feature: str) -> None:
        super().__init__()
        self.base = base
        after = feature == "after"
        for name in ("bottleneck", *(f"bottleneck_{part + 1}" for part in range(PARTS))):
            self.add_module(name, nn.BatchNorm1d(base.embed_dim) if after else nn.Identity())

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W].   returns: [B, 2 · width]."""
        tokens = self.base.forward_features(images)  # [B, 1 + 3 + patches, width]
        whole = self.get_submodule("bottleneck")(tokens[:, 0])
        parts = [
            self.get_submodule(f"bottleneck_{part}")(tokens[:, part])
            for part in range(1, PARTS + 1)
        ]
        return torch.cat([whole, torch.stack(parts).mean(dim=0)], dim=1)


def from_transreid(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return TransReID's tensors as those of a network that knows no camera and has no JPM.

    Cameras and views are known in the authors' test, and are not known here: the mean of their
    embeddings (SIE) is added to the positions'. With JPM the global branch `b1` has the last block
    that was trained, and takes the place of the transformer's own.
    """
    found = under_base(given)
    sie = found.pop("base.sie_embed", None)
    if sie is not None and "base.pos_embed" in found:
        mean = sie.float().mean(dim=0, keepdim=True)  # [1, 1, width]
        found["base.pos_embed"] = found["base.pos_embed"] + SIE_WEIGHT * mean
    if "b1.1.weight" not in found:
        return found
    last = max(
        int(number) for name in found for number in re.findall(r"^base\.blocks\.(\d+)", name)
    )
    for name in list(found):
        match = re.fullmatch(r"b1\.([01])\.(.+)", name)
        if match:
            place = "norm" if match[1] == "1" else f"blocks.{last}"
            found[f"base.{place}.{match[2]}"] = found.pop(name)
    return found


def from_pass(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return PASS's tensors with each token's position added to it, its parts as registers."""
    found = under_base(given)
    whole = ("base.cls_token", "base.cls_pos")
    pairs = [(f"base.part_token{part}", f"base.part{part}_pos") for part in range(1, PARTS + 1)]
    if not all(name in found for pair in (whole, *pairs) for name in pair):
        return found
    parts = [found.pop(token) + found.pop(place) for token, place in pairs]
    found["base.reg_token"] = torch.cat(parts, dim=1)  # [1, 3, width]
    found["base.cls_token"] = found["base.cls_token"] + found.pop("base.cls_pos")
    return found


def _entry(arch: str, settings: Mapping[str, Any], *, origin: str, height: int = 256) -> Published:
    parts = settings.get("parts")

    def build(*, size: tuple[int, int], feature: str = "before") -> nn.Module:
        base = vision_transformer(arch, size=size, **settings)
        return (PASS if parts else TransReID)(base, feature=feature)

    return Published(
        build=build,
        preprocessing=replace(TEST, height=height),
        origin=origin,
        features=("before", "after"),
        rename=from_pass if parts else from_transreid,
    )


TRANSREID = "He et al., ICCV 2021; github.com/damo-cv/TransReID"
SSL = "Luo et al., 2021; github.com/damo-cv/TransReID-SSL"
PASS_PAPER = "Zhu et al., ECCV 2022; github.com/CASIA-IVA-Lab/PASS-reID"
NETWORKS = {
    f"transreid:{name}{ending}": _entry(
        f"transreid:{name}{ending}", {**settings, **more}, origin=TRANSREID
    )
    for name, settings in (
        *(("vit_base", BASE), ("deit_base", BASE)),
        *(("vit_small", OLD_SMALL), ("deit_small", SMALL)),
    )
    for ending, more in (("", BASE), ("_s12", {"stride": 12}))
}
NETWORKS |= {
    "transreid_ssl:vit_small": _entry(
        "transreid_ssl:vit_small", {**SMALL, "stem": True}, origin=SSL
    ),
    "transreid_ssl:vit_base": _entry(
        "transreid_ssl:vit_base", {"stem": True}, origin=SSL, height=384
    ),
    "pass:vit_small": _entry("pass:vit_small", {**SMALL, "parts": PARTS}, origin=PASS_PAPER),
    "pass:vit_base": _entry("pass:vit_base", {"parts": PARTS}, origin=PASS_PAPER),
}
