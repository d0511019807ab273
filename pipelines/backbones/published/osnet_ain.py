"""OSNet-AIN (Zhou et al., TPAMI 2021): OSNet with instance norms where a search put them."""

from collections import OrderedDict

from torch import Tensor, nn

from ..osnet import BOTTLENECK_REDUCTION, FEATURES, ChannelGate, ConvLayer, LightConv3x3

STREAMS = 4
# Whether each of a stage's two blocks has an instance norm.
INSTANCE = ((True, True), (False, True), (True, False))


class Stream(nn.Module):
    """Light convolutions one after another."""

    def __init__(self, width: int, *, depth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(LightConv3x3(width) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        """x, returns: [B, width, H, W]."""
        return self.layers(x)


class AINBlock(nn.Module):
    """An omni-scale block; with `instance`, an instance norm before the sum with the shortcut."""

    def __init__(self, inputs: int, outputs: int, *, instance: bool) -> None:
        super().__init__()
        middle = outputs // BOTTLENECK_REDUCTION
        self.conv1 = ConvLayer(inputs, middle, kernel=1)
        self.conv2 = nn.ModuleList(Stream(middle, depth=depth + 1) for depth in range(STREAMS))
        self.gate = ChannelGate(middle)
        self.conv3: nn.Module = ConvLayer(middle, outputs, kernel=1, linear=True)
        self.IN: nn.Module = nn.Identity()
        if instance:
            bare = nn.Conv2d(middle, outputs, 1, bias=False)
            self.conv3 = nn.Sequential(OrderedDict(conv=bare))
            self.IN = nn.InstanceNorm2d(outputs, affine=True)
        self.downsample = (
            ConvLayer(inputs, outputs, kernel=1, linear=True)
            if inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, inputs, H, W].   returns: [B, outputs, H, W]."""
        narrow = self.conv1(x)
        mixed = sum(self.gate(stream(narrow)) for stream in self.conv2)
        return nn.functional.relu(self.IN(self.conv3(mixed)) + self.downsample(x))


class OSNetAIN(nn.Module):
    """Images [B, 3, H, W] -> features [B, 512], total stride 16, with torchreid's names."""

    def __init__(self, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        stem, first, second, third = channels
        self.conv1 = ConvLayer(3, stem, kernel=7, stride=2, instance=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv2 = _stage(stem, first, instance=INSTANCE[0])
        self.pool2 = nn.Sequential(ConvLayer(first, first, kernel=1), nn.AvgPool2d(2, stride=2))
        self.conv3 = _stage(first, second, instance=INSTANCE[1])
        self.pool3 = nn.Sequential(ConvLayer(second, second, kernel=1), nn.AvgPool2d(2, stride=2))
        self.conv4 = _stage(second, third, instance=INSTANCE[2])
        self.conv5 = ConvLayer(third, third, kernel=1)
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Linear(third, FEATURES), nn.BatchNorm1d(FEATURES), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W].   returns: [B, 512]."""
        x = self.maxpool(self.conv1(images))
        x = self.pool3(self.conv3(self.pool2(self.conv2(x))))
        x = self.conv5(self.conv4(x))
        return self.fc(self.global_avgpool(x).flatten(1))


def _stage(inputs: int, outputs: int, *, instance: tuple[bool, bool]) -> nn.Sequential:
    return nn.Sequential(
        AINBlock(inputs, outputs, instance=instance[0]),
        AINBlock(outputs, outputs, instance=instance[1]),
    )
