"""ResNet bodies as re-identification's code bases vary them: strides, IBN, non-local, GeM."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..backbone import keep_resolution, torchvision_network

STAGES = ("layer1", "layer2", "layer3", "layer4")
WIDTH = 2048  # channels of a bottleneck ResNet's last stage
GEM_POWER = 3.0


class IBN(nn.Module):
    """IBN-a (Pan et al., ECCV 2018): instance norm for half the channels, batch norm for half."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = channels // 2
        self.IN = nn.InstanceNorm2d(self.first, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.first)

    def forward(self, x: Tensor) -> Tensor:
        """x, returns: [B, channels, H, W]."""
        return torch.cat([self.IN(x[:, : self.first]), self.BN(x[:, self.first :])], dim=1)


class NonLocal(nn.Module):
    """Each position gathers from all others through one channel, as fast-reid's code has it.

    (Wang et al., CVPR 2018, have half of the channels.)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Conv2d(channels, 1, 1)
        self.theta = nn.Conv2d(channels, 1, 1)
        self.phi = nn.Conv2d(channels, 1, 1)
        norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(norm.weight)  # it starts as the identity
        self.W = nn.Sequential(nn.Conv2d(1, channels, 1), norm)

    def forward(self, x: Tensor) -> Tensor:
        """x, returns: [B, channels, H, W]."""
        # With one channel θφᵀg is θ times a number of the image's: no [HW, HW] is ever made.
        shared = (self.phi(x) * self.g(x)).mean(dim=(2, 3), keepdim=True)  # [B, 1, 1, 1]
        return x + self.W(self.theta(x) * shared)


class GeM(nn.Module):
    """Generalised mean pooling (Radenović et al., TPAMI 2019) with a power that is learned."""

    def __init__(self, *, least: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), GEM_POWER))
        self.least = least

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W].   returns: [B, C, 1, 1]."""
        powers = x.clamp(min=self.least).pow(self.p)
        return powers.mean(dim=(2, 3), keepdim=True).pow(1 / self.p)


class ResNetMaps(nn.Module):
    """A torchvision ResNet up to its last maps: [B, 3, H, W] -> [B, 2048, H/16, W/16].

    last_stride: 2 as torchvision has it, or 1.
    ibn:         IBN in the first three stages.
    non_local:   how many blocks at the end of each stage a non-local block follows.
    """

    conv1: nn.Module
    bn1: nn.Module
    relu: nn.Module
    maxpool: nn.Module

    def __init__(
        self,
        depth: int,
        *,
        last_stride: int = 1,
        ibn: bool = False,
        non_local: Sequence[int] = (0, 0, 0, 0),
    ) -> None:
        super().__init__()
        resnet = torchvision_network(f"resnet{depth}")
        for name in ("conv1", "bn1", "relu", "maxpool", *STAGES):
            setattr(self, name, getattr(resnet, name))
        if last_stride == 1:
            keep_resolution(self, "stride1")
        if ibn:
            for block in (*self.stage(0), *self.stage(1), *self.stage(2)):
                block.bn1 = IBN(block.bn1.num_features)
        for stage, count in enumerate(non_local):
            if count:
                channels = WIDTH >> (len(STAGES) - 1 - stage)
                blocks = nn.ModuleList(NonLocal(channels) for _ in range(count))
                self.add_module(f"NL_{stage + 1}", blocks)

    def stage(self, number: int) -> nn.Sequential:
        """Return a stage's blocks."""
        found: nn.Sequential = getattr(self, STAGES[number])
        return found

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W].   returns: [B, 2048, H/16, W/16], H/32 for a last stride of 2."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for number in range(len(STAGES)):
            blocks = self.stage(number)
            after = getattr(self, f"NL_{number + 1}", ())
            for place, block in enumerate(blocks):
                x = block(x)
                if place >= len(blocks) - len(after):
                    x = after[place - len(blocks)](x)
        return x
