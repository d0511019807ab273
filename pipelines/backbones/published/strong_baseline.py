"""Bag of tricks (Luo et al., CVPRW 2019; github.com/michuanhaohao/reid-strong-baseline)."""

from torch import Tensor, nn

from ...preprocessing import Preprocessing
from .entry import Published
from .neck import Neck
from .resnets import WIDTH, ResNetMaps


class StrongBaseline(nn.Module):
    """Images -> [B, 2048], after the BNNeck or before it."""

    def __init__(self, *, ibn: bool, feature: str) -> None:
        super().__init__()
        self.base = ResNetMaps(50, ibn=ibn)
        if not ibn:
            self.base.relu = nn.Identity()  # their stem has none
        self.bottleneck = Neck(WIDTH, feature=feature)

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W].   returns: [B, 2048]."""
        return self.bottleneck(self.base(images).mean(dim=(2, 3)))


def _entry(*, ibn: bool) -> Published:
    def build(*, size: tuple[int, int], feature: str = "after") -> nn.Module:
        return StrongBaseline(ibn=ibn, feature=feature)

    return Published(
        build=build,
        preprocessing=Preprocessing(),
        origin="Luo et al., CVPRW 2019; github.com/michuanhaohao/reid-strong-baseline",
        features=("after", "before"),
    )


NETWORKS = {"bot_r50": _entry(ibn=False), "bot_r50_ibn": _entry(ibn=True)}
