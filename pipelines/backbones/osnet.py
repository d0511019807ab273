"""OSNet (Zhou et al., ICCV 2019): omni-scale blocks, tensors named as torchreid names them."""

from torch import Tensor, nn

CHANNELS = {
    "osnet_x1_0": (64, 256, 384, 512),
    "osnet_x0_75": (48, 192, 288, 384),
    "osnet_x0_5": (32, 128, 192, 256),
    "osnet_x0_25": (16, 64, 96, 128),
}
FEATURES = 512
GATE_REDUCTION = 16
BOTTLENECK_REDUCTION = 4


class ConvLayer(nn.Module):
    """Convolution, batch norm (or instance norm) and, unless `linear`, ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int,
        stride: int = 1,
        linear: bool = False,
        instance: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.InstanceNorm2d(outputs, affine=True) if instance else nn.BatchNorm2d(outputs)
        self.relu = nn.Identity() if linear else nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, inputs, H, W].   returns: [B, outputs, H/stride, W/stride]."""
        return self.relu(self.bn(self.conv(x)))


class LightConv3x3(nn.Module):
    """A 3×3 convolution as pointwise and depthwise."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False, groups=width)
        self.bn = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """x, returns: [B, width, H, W]."""
        return self.relu(self.bn(self.conv2(self.conv1(x))))


class ChannelGate(nn.Module):
    """Weights each channel of an image by what the whole image holds."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(width, width // GATE_REDUCTION, 1)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(width // GATE_REDUCTION, width, 1)
        self.gate_activation = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """x, returns: [B, width, H, W]."""
        weights: Tensor = self.fc2(self.relu(self.fc1(self.global_avgpool(x))))  # [B, width, 1, 1]
        return x * self.gate_activation(weights)


class OSBlock(nn.Module):
    """Four streams of 1 to 4 light convolutions, summed through one shared gate.

    instance: an instance norm after the sum with the shortcut (IBN-b, Pan et al., ECCV 2018).
    """

    def __init__(self, inputs: int, outputs: int, *, instance: bool = False) -> None:
        super().__init__()
        middle = outputs // BOTTLENECK_REDUCTION
        self.conv1 = ConvLayer(inputs, middle, kernel=1)
        self.conv2a = LightConv3x3(middle)
        self.conv2b = nn.Sequential(*(LightConv3x3(middle) for _ in range(2)))
        self.conv2c = nn.Sequential(*(LightConv3x3(middle) for _ in range(3)))
        self.conv2d = nn.Sequential(*(LightConv3x3(middle) for _ in range(4)))
        self.gate = ChannelGate(middle)
        self.conv3 = ConvLayer(middle, outputs, kernel=1, linear=True)
        self.downsample = (
            ConvLayer(inputs, outputs, kernel=1, linear=True)
            if inputs != outputs
            else nn.Identity()
        )
        self.IN = nn.InstanceNorm2d(outputs, affine=True) if instance else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, inputs, H, W].   returns: [B, outputs, H, W]."""
        narrow = self.conv1(x)
        streams = (self.conv2a, self.conv2b, self.conv2c, self.conv2d)
        mixed = sum(self.gate(stream(narrow)) for stream in streams)
        return nn.functional.relu(self.IN(self.conv3(mixed) + self.downsample(x)))


class OSNet(nn.Module):
    """Images [B, 3, H, W] -> features [B, 512], total stride 16.

    instance: with instance norms in the stem and in the first stage (torchreid's osnet_ibn_x1_0).
    """

    def __init__(self, channels: tuple[int, int, int, int], *, instance: bool = False) -> None:
        super().__init__()
        stem, first, second, third = channels
        self.conv1 = ConvLayer(3, stem, kernel=7, stride=2, instance=instance)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv2 = _stage(stem, first, halve=True, instance=instance)
        self.conv3 = _stage(first, second, halve=True)
        self.conv4 = _stage(second, third, halve=False)
        self.conv5 = ConvLayer(third, third, kernel=1)
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Linear(third, FEATURES), nn.BatchNorm1d(FEATURES), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W].   returns: [B, 512]."""
        x = self.maxpool(self.conv1(images))
        x = self.conv5(self.conv4(self.conv3(self.conv2(x))))
        return self.fc(self.global_avgpool(x).flatten(1))


def _stage(inputs: int, outputs: int, *, halve: bool, instance: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [
        OSBlock(inputs, outputs, instance=instance),
        OSBlock(outputs, outputs, instance=instance),
    ]
    if halve:
        layers.append(
            nn.Sequential(ConvLayer(outputs, outputs, kernel=1), nn.AvgPool2d(2, stride=2))
        )
    return nn.Sequential(*layers)
