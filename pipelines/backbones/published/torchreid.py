"""Networks of torchreid (github.com/KaiyangZhou/deep-person-reid), by its own names."""

from collections.abc import Callable

from torch import Tensor, nn

from ...preprocessing import Preprocessing
from ..osnet import CHANNELS, OSNet
from .entry import Published
from .hacnn import HACNN, SIZE
from .mlfn import MLFN
from .osnet_ain import OSNetAIN
from .resnets import WIDTH, ResNetMaps

ZOO = "github.com/KaiyangZhou/deep-person-reid"
TEST = Preprocessing()  # 256 × 128, bilinear, ImageNet's mean and deviation
IBN = "osnet_ibn_x1_0"


class PooledResNet(ResNetMaps):
    """A ResNet-50's pooled maps, [B, 2048], or with `reduced` a linear layer's [B, reduced]."""

    def __init__(self, *, last_stride: int, ibn: bool = False, reduced: int = 0) -> None:
        super().__init__(50, last_stride=last_stride, ibn=ibn)
        self.fc: nn.Module = nn.Identity()
        if reduced:
            self.fc = nn.Sequential(nn.Linear(WIDTH, reduced), nn.BatchNorm1d(reduced), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W].   returns: [B, 2048] or [B, reduced]."""
        return self.fc(super().forward(images).mean(dim=(2, 3)))


def _entry(
    make: Callable[[], nn.Module], paper: str, *, preprocessing: Preprocessing = TEST
) -> Published:
    """Return an entry of a network that takes images of any size and gives one feature."""

    def build(*, size: tuple[int, int], feature: str = "pooled") -> nn.Module:
        return make()

    return Published(build=build, preprocessing=preprocessing, origin=f"{paper}; {ZOO}")


def _osnet(arch: str) -> Published:
    channels = CHANNELS[arch.replace("_ibn", "")]
    return _entry(lambda: OSNet(channels, instance=arch == IBN), "Zhou et al., ICCV 2019")


def _osnet_ain(width: str) -> Published:
    return _entry(lambda: OSNetAIN(CHANNELS[f"osnet_{width}"]), "Zhou et al., TPAMI 2021")


NETWORKS = {
    **{arch: _osnet(arch) for arch in (*CHANNELS, IBN)},
    **{f"osnet_ain_{width}": _osnet_ain(width) for width in ("x1_0", "x0_75", "x0_5", "x0_25")},
    "torchreid:resnet50": _entry(lambda: PooledResNet(last_stride=2), "He et al., CVPR 2016"),
    "resnet50_fc512": _entry(
        lambda: PooledResNet(last_stride=1, reduced=512), "He et al., CVPR 2016"
    ),
    "resnet50_ibn_a": _entry(
        lambda: PooledResNet(last_stride=2, ibn=True), "Pan et al., ECCV 2018"
    ),
    "mlfn": _entry(MLFN, "Chang et al., CVPR 2018"),
    "hacnn": _entry(
        HACNN,
        "Li et al., CVPR 2018",
        preprocessing=Preprocessing(height=SIZE[0], width=SIZE[1]),
    ),
}
