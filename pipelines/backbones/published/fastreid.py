"""Networks of fast-reid (He et al., 2020; github.com/JDAI-CV/fast-reid): BoT, SBS and AGW."""

from collections import OrderedDict

from torch import Tensor, nn

from ...preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from .entry import Published
from .neck import Neck
from .resnets import WIDTH, GeM, ResNetMaps

NON_LOCAL = {50: (0, 2, 3, 0), 101: (0, 2, 9, 0)}
PAPERS = {
    "bot": "Luo et al., CVPRW 2019",
    "sbs": "He et al., 2020 (SBS)",
    "agw": "Ye et al., TPAMI 2021",
}


def _test(height: int) -> Preprocessing:
    return Preprocessing(
        height=height,
        width=128,
        resize="bicubic",
        scale=255,
        mean=tuple(255 * value for value in IMAGENET_MEAN),
        std=tuple(255 * value for value in IMAGENET_STD),
    )


class FastReID(nn.Module):
    """Images -> [B, 2048], after the batch norm of the neck or before it.

    gem: generalised mean pooling; its power is 3 where a file has none (AGW fixes it).
    """

    def __init__(self, depth: int, *, ibn: bool, non_local: bool, gem: bool, feature: str) -> None:
        super().__init__()
        counts = NON_LOCAL[depth] if non_local else (0, 0, 0, 0)
        self.backbone = ResNetMaps(depth, ibn=ibn, non_local=counts)
        self.backbone.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)  # and no padding
        self.heads = nn.Sequential(
            OrderedDict(
                pool_layer=GeM() if gem else nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                bottleneck=nn.Sequential(Neck(WIDTH, feature=feature)),
            )
        )
        self.fresh = ("heads.pool_layer.",)

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W].   returns: [B, 2048]."""
        return self.heads(self.backbone(images))


def _entry(recipe: str, *, depth: int, ibn: bool) -> Published:
    def build(*, size: tuple[int, int], feature: str = "after") -> nn.Module:
        return FastReID(
            depth,
            ibn=ibn,
            non_local=recipe != "bot",
            gem=recipe != "bot",
            feature=feature,
        )

    return Published(
        build=build,
        preprocessing=_test(384 if recipe == "sbs" else 256),
        origin=f"{PAPERS[recipe]}; github.com/JDAI-CV/fast-reid",
        features=("after", "before"),
    )


NETWORKS = {
    f"fastreid:{recipe}_r{depth}{'_ibn' if ibn else ''}": _entry(recipe, depth=depth, ibn=ibn)
    for recipe in PAPERS
    for depth, ibn in ((50, False), (50, True), (101, True))
}
