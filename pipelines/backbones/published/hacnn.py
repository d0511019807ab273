"""HACNN (Li et al., CVPR 2018): a whole image and four attended stripes, joined at each stage."""

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE = (160, 64)  # the only one: the stripes' sizes are made for it
WIDTHS = (128, 256, 384)
STEM = 32
FEATURES = 512  # of the image, and as many of its stripes
STRIPES = 4
STRIPE_SIZES = ((24, 28), (12, 14), (6, 7))  # before each stage
STRIPE_HEIGHT = 0.25  # of the image


class ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, inputs, H, W].   returns: [B, outputs, H/stride, W/stride]."""
        return self.bn(self.conv(x)).relu()


class Streams(nn.Module):
    """Convolutions side by side, joined."""

    def __init__(self, *streams: nn.Sequential) -> None:
        super().__init__()
        for number, stream in enumerate(streams, start=1):
            self.add_module(f"stream{number}", stream)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, inputs, H, W].   returns: [B, the streams' channels, H', W']."""
        return torch.cat([stream(x) for stream in self.children()], dim=1)


def inception_a(inputs: int, outputs: int) -> Streams:
    """Return a block that keeps the resolution."""
    quarter = outputs // 4
    threes = (
        nn.Sequential(ConvBlock(inputs, quarter), ConvBlock(quarter, quarter, kernel=3))
        for _ in range(3)
    )
    pooled = nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1), ConvBlock(inputs, quarter))
    return Streams(*threes, pooled)


def inception_b(inputs: int, outputs: int) -> Streams:
    """Return a block that halves the resolution."""
    quarter = outputs // 4
    halving = {"kernel": 3, "stride": 2}
    return Streams(
        nn.Sequential(ConvBlock(inputs, quarter), ConvBlock(quarter, quarter, **halving)),
        nn.Sequential(
            ConvBlock(inputs, quarter),
            ConvBlock(quarter, quarter, kernel=3),
            ConvBlock(quarter, quarter, **halving),
        ),
        nn.Sequential(nn.MaxPool2d(3, stride=2, padding=1), ConvBlock(inputs, 2 * quarter)),
    )


class SpatialAttention(nn.Module):
    """Where to look: one map for all channels (section 3.1.I.1)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvBlock(1, 1, kernel=3, stride=2)
        self.conv2 = ConvBlock(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W].   returns: [B, 1, H, W]."""
        half = self.conv1(x.mean(dim=1, keepdim=True))  # [B, 1, H/2, W/2]
        size = [2 * length for length in half.shape[2:]]
        return self.conv2(_resized(half, size))


class ChannelAttention(nn.Module):
    """What to look at: a weight for each channel (section 3.1.I.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvBlock(channels, channels // 16)
        self.conv2 = ConvBlock(channels // 16, channels)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W].   returns: [B, C, 1, 1]."""
        return self.conv2(self.conv1(x.mean(dim=(2, 3), keepdim=True)))


class SoftAttention(nn.Module):
    """A weight for each channel at each place (section 3.1.I)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial_attn = SpatialAttention()
        self.channel_attn = ChannelAttention(channels)
        self.conv = ConvBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """x, returns: [B, C, H, W]."""
        return self.conv(self.spatial_attn(x) * self.channel_attn(x)).sigmoid()


class HardAttention(nn.Module):
    """Where the four stripes lie (section 3.1.II)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, 2 * STRIPES)
        nn.init.zeros_(self.fc.weight)
        centres = torch.tensor([[0.0, -0.75], [0.0, -0.25], [0.0, 0.25], [0.0, 0.75]])
        self.fc.bias.data.copy_(centres.flatten())

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W].   returns: [B, 4, 2], the stripes' centres, each side from -1 to 1."""
        return self.fc(x.mean(dim=(2, 3))).tanh().view(-1, STRIPES, 2)


class HarmoniousAttention(nn.Module):
    """Both of them (section 3.1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.soft_attn = SoftAttention(channels)
        self.hard_attn = HardAttention(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: [B, C, H, W].   returns: the weighted maps, and the stripes' centres [B, 4, 2]."""
        return x * self.soft_attn(x), self.hard_attn(x)


class HACNN(nn.Module):
    """Images [B, 3, 160, 64] -> features [B, 1024]; tensors as torchreid names them.

    The image's 512 and the stripes' 512 have unit length each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = ConvBlock(3, STEM, kernel=3, stride=2)
        inputs = (STEM, *WIDTHS)
        for stage, (before, width) in enumerate(zip(inputs, WIDTHS, strict=False), start=1):
            both = nn.Sequential(inception_a(before, width), inception_b(width, width))
            self.add_module(f"inception{stage}", both)
            self.add_module(f"ha{stage}", HarmoniousAttention(width))
            self.add_module(f"local_conv{stage}", inception_b(before, width))
        self.fc_global = _projection(WIDTHS[-1])
        self.fc_local = _projection(WIDTHS[-1] * STRIPES)

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, 160, 64].   returns: [B, 1024]."""
        x = self.conv(images)
        stripes: list[Tensor] = []
        for stage, size in enumerate(STRIPE_SIZES, start=1):
            attended, centres = self.get_submodule(f"ha{stage}")(
                self.get_submodule(f"inception{stage}")(x)
            )
            views = [_resized(_stripe(x, centres[:, one]), size) for one in range(STRIPES)]
            if stripes:
                views = [view + stripe for view, stripe in zip(views, stripes, strict=True)]
            stripes = [self.get_submodule(f"local_conv{stage}")(view) for view in views]
            x = attended
        whole = self.fc_global(x.mean(dim=(2, 3)))
        parts = self.fc_local(torch.cat([stripe.mean(dim=(2, 3)) for stripe in stripes], dim=1))
        return torch.cat([functional.normalize(whole), functional.normalize(parts)], dim=1)


def _stripe(x: Tensor, centre: Tensor) -> Tensor:
    """Return a quarter of the maps' height around a centre, as large as the maps.

    x: [B, C, H, W].   centre: [B, 2].
    """
    theta = torch.zeros(x.shape[0], 2, 3, dtype=x.dtype, device=x.device)
    theta[:, 0, 0], theta[:, 1, 1] = 1.0, STRIPE_HEIGHT
    theta[:, :, 2] = centre
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False)


def _resized(x: Tensor, size: tuple[int, int] | list[int]) -> Tensor:
    return functional.interpolate(x, list(size), mode="bilinear", align_corners=True)


def _projection(inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, FEATURES), nn.BatchNorm1d(FEATURES), nn.ReLU())
