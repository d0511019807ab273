"""Networks for animals: MegaDescriptor (Čermák, WACV 2024) and MiewID (Otarashvili, 2024)."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from ...preprocessing import Preprocessing
from ..backbone import timm_network
from ..names import require_timm
from .entry import Published
from .resnets import GeM

MEGADESCRIPTORS = {
    "t224": "swin_tiny_patch4_window7_224",
    "s224": "swin_small_patch4_window7_224",
    "b224": "swin_base_patch4_window7_224",
    "l224": "swin_large_patch4_window7_224",
    "l384": "swin_large_patch4_window12_384",
}
MIEWID_BODY = "efficientnetv2_rw_m"


class MiewID(nn.Module):
    """Images -> [B, 2152]: an EfficientNet's maps, GeM and a batch norm."""

    def __init__(self, arch: str, size: tuple[int, int]) -> None:
        super().__init__()
        require_timm(arch)
        self.backbone, width = timm_network(f"timm:{MIEWID_BODY}", size, global_pool="")
        self.pooling = GeM()
        self.bn = nn.BatchNorm1d(width)

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W].   returns: [B, 2152]."""
        return self.bn(self.pooling(self.backbone(images)).flatten(1))


def as_timm_now(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a Swin's tensors by timm's names: before 0.9 a stage ended with its merging."""
    if not any(name.startswith("layers.0.downsample.") for name in given):
        return dict(given)

    def later(match: re.Match[str]) -> str:
        return f"layers.{int(match[1]) + 1}.downsample."

    return {
        re.sub(r"^layers\.(\d)\.downsample\.", later, name): value for name, value in given.items()
    }


def _megadescriptor(arch: str, name: str) -> Published:
    def build(*, size: tuple[int, int], feature: str = "pooled") -> nn.Module:
        require_timm(arch)
        return timm_network(f"timm:{name}", size)[0]

    side = int(name[-3:])
    return Published(
        build=build,
        preprocessing=Preprocessing(height=side, width=side),
        origin="Čermák et al., WACV 2024; github.com/WildlifeDatasets/wildlife-tools",
        rename=as_timm_now,
    )


def _miewid(arch: str) -> Published:
    def build(*, size: tuple[int, int], feature: str = "after") -> nn.Module:
        return MiewID(arch, size)

    return Published(
        build=build,
        preprocessing=Preprocessing(height=440, width=440),
        origin="Otarashvili et al., 2024; github.com/WildMeOrg/wbia-plugin-miew-id",
        features=("after",),
    )


NETWORKS = {
    **{
        f"megadescriptor:{size}": _megadescriptor(f"megadescriptor:{size}", name)
        for size, name in MEGADESCRIPTORS.items()
    },
    **{name: _miewid(name) for name in ("miewid:msv2", "miewid:msv3")},
}
