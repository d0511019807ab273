"""Networks of torchreid (github.com/KaiyangZhou/deep-person-reid), by its own names."""

from torch import nn

from ...preprocessing import Preprocessing
from ..osnet import CHANNELS, OSNet
from .entry import Published
from .osnet_ain import OSNetAIN

ZOO = "github.com/KaiyangZhou/deep-person-reid"
TEST = Preprocessing()  # 256 × 128, bilinear, ImageNet's mean and deviation
IBN = "osnet_ibn_x1_0"


def _osnet(arch: str) -> Published:
    def build(*, size: tuple[int, int], feature: str = "pooled") -> nn.Module:
        return OSNet(CHANNELS[arch.replace("_ibn", "")], instance=arch == IBN)

    return Published(build=build, preprocessing=TEST, origin=f"Zhou et al., ICCV 2019; {ZOO}")


def _osnet_ain(width: str) -> Published:
    def build(*, size: tuple[int, int], feature: str = "pooled") -> nn.Module:
        return OSNetAIN(CHANNELS[f"osnet_{width}"])

    return Published(build=build, preprocessing=TEST, origin=f"Zhou et al., TPAMI 2021; {ZOO}")


NETWORKS = {
    **{arch: _osnet(arch) for arch in (*CHANNELS, IBN)},
    **{f"osnet_ain_{width}": _osnet_ain(width) for width in ("x1_0", "x0_75", "x0_5", "x0_25")},
}
