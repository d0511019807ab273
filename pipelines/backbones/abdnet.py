"""ABD-Net (Chen et al., ICCV 2019): a global and an attentive branch, kept diverse."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

BRANCH = 1024  # features of each branch
DEEP = 2048  # channels after res_conv_5
FEATURE_WEIGHT = 1e-6  # of the orthogonality of features and of weights, as in the authors' code
WEIGHT_WEIGHT = 1e-2
SHALLOW_SHARE = 0.01  # of the shallow features' part
REFERENCE_BATCH = 32


class ChannelAttention(nn.Module):
    """Channels gather from channels unlike themselves (section 3.2, CAM)."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """x, returns: [B, C, H, W]."""
        rows = x.flatten(2)  # [B, C, HW]
        energy = rows @ rows.transpose(1, 2)  # [B, C, C]
        attention = (energy.amax(dim=2, keepdim=True) - energy).softmax(dim=2)
        return self.gamma * (attention @ rows).view_as(x) + x


class PositionAttention(nn.Module):
    """Positions gather from positions like themselves (section 3.2, PAM)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query_conv = nn.Conv2d(channels, channels // 8, 1)
        self.key_conv = nn.Conv2d(channels, channels // 8, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """x, returns: [B, C, H, W]."""
        query, key = self.query_conv(x).flatten(2), self.key_conv(x).flatten(2)  # [B, C/8, HW]
        attention = (query.transpose(1, 2) @ key).softmax(dim=2)  # [B, HW, HW]
        gathered = self.value_conv(x).flatten(2) @ attention.transpose(1, 2)  # [B, C, HW]
        return self.gamma * gathered.view_as(x) + x


class AttentionHead(nn.Module):
    """An attention module between convolutions of half the width, as in DANet."""

    def __init__(self, channels: int, attention: nn.Module) -> None:
        super().__init__()
        half = channels // 2
        self.before = _convolution(channels, half)
        self.attention = attention
        self.after = _convolution(half, half)
        self.out = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(half, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x, returns: [B, C, H, W]."""
        return self.out(self.after(self.attention(self.before(x))))


class ABDNet(nn.Module):
    """Images -> [B, 2048]: 1024 of the global branch and 1024 of the attentive one.

    resnet: a torchvision ResNet-50 whose last stage keeps its resolution. Both branches have a last
    stage of their own.
    parts:  horizontal stripes that the attentive branch looks at one by one, 1024 features each.
    In training each forward keeps its feature maps for `diversity`, the loss that keeps features
    and weights near orthogonal.
    """

    conv1: nn.Module
    bn1: nn.Module
    relu: nn.Module
    maxpool: nn.Module
    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module
    layer4: nn.Module

    aside: tuple[str, ...] = ()

    def __init__(self, resnet: nn.Module, *, parts: int = 1) -> None:
        super().__init__()
        self.parts = parts
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            setattr(self, name, getattr(resnet, name))
        self.attentive_layer4 = copy.deepcopy(self.layer4)
        self.shallow_attention = ChannelAttention()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.global_features = nn.Sequential(
            nn.Linear(DEEP, BRANCH), nn.BatchNorm1d(BRANCH), nn.ReLU()
        )
        self.reduction = _convolution(DEEP, BRANCH, kernel=1)
        self.identity_head = AttentionHead(BRANCH, nn.Identity())
        self.channel_head = AttentionHead(BRANCH, ChannelAttention())
        self.position_head = AttentionHead(BRANCH, PositionAttention(BRANCH // 2))
        self.sum = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(BRANCH, BRANCH, 1))
        self.maps: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W].   returns: [B, 1024 · (1 + parts)]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        shallow = self.shallow_attention(self.layer1(x))  # [B, 256, H/4, W/4]
        x = self.layer3(self.layer2(shallow))  # [B, 1024, H/16, W/16]
        of_all = self.global_features(self.pool(self.layer4(x)).flatten(1))
        reduced = self.reduction(self.attentive_layer4(x))  # [B, 1024, H/16, W/16]
        self.maps = [shallow] if self.training else []
        found = [self._attentive(stripe) for stripe in reduced.chunk(self.parts, dim=2)]
        return torch.cat([of_all, *found], dim=1)

    def _attentive(self, maps: Tensor) -> Tensor:
        """maps: [B, 1024, h, w].   returns: [B, 1024]."""
        heads = (self.identity_head, self.channel_head, self.position_head)
        views = [head(maps) for head in heads]
        summed = self.sum(views[0] + views[1] + views[2])
        if self.training:
            self.maps += [*views, summed]
        return self.pool(summed).flatten(1)

    def diversity(self) -> Tensor:
        """Return the loss of the last training forward's features and of all weights: a scalar."""
        assert self.maps, "diversity is the loss of a forward in training"
        shallow, *deep = self.maps
        self.maps = []
        features = SHALLOW_SHARE * feature_spread(shallow)
        features = features + sum((feature_spread(x) for x in deep), torch.zeros_like(features))
        weights = torch.zeros_like(features)
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and not name.startswith(self.fresh):
                weights = weights + weight_spread(module.weight)
        return FEATURE_WEIGHT * features + WEIGHT_WEIGHT * weights

    def expand_weights(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a ResNet-50's tensors with its last stage for both branches."""
        twice = {
            f"attentive_{name}": value
            for name, value in given.items()
            if name.startswith("layer4.") and f"attentive_{name}" not in given
        }
        return {**given, **twice}

    @property
    def fresh(self) -> tuple[str, ...]:
        """What an ImageNet network does not have: made anew."""
        heads = ("identity_head.", "channel_head.", "position_head.", "sum.")
        return ("shallow_attention.", "global_features.", "reduction.", *heads)


def feature_spread(maps: Tensor) -> Tensor:
    """Return how far feature maps are from orthogonal, summed over 32 images (section 3.3, O.F.).

    maps: [B, C, H, W].   returns: the largest less the smallest eigenvalue of each image's F Fᵀ.
    """
    rows = maps.float().flatten(2)  # [B, C, HW]
    return spectral_difference(rows).sum() * (REFERENCE_BATCH / len(maps))


def weight_spread(weight: Tensor) -> Tensor:
    """Return how far a convolution's filters are from orthogonal (section 3.3, O.W.), squared.

    weight: [out, in, kh, kw].
    """
    return spectral_difference(weight.float().flatten(1)[None]).square().sum()


def spectral_difference(rows: Tensor) -> Tensor:
    """Return λ_max − λ_min of rows rowsᵀ, each from one step of power iteration (Eq. 5 to 7).

    rows: [B, C, n].   returns: [B].
    """
    start = torch.randn(*rows.shape[:2], 1, device=rows.device)  # [B, C, 1]
    largest = _rayleigh(rows, start, shift=torch.zeros(len(rows), 1, 1, device=rows.device))
    return -_rayleigh(rows, torch.randn_like(start), shift=largest)[:, 0, 0]


def _rayleigh(rows: Tensor, start: Tensor, *, shift: Tensor) -> Tensor:
    """Return a dominant eigenvalue of rows rowsᵀ − shift I: [B, 1, 1]."""

    def product(x: Tensor) -> Tensor:
        return rows @ (rows.transpose(1, 2) @ x) - shift * x

    x = product(start)
    return (x.transpose(1, 2) @ product(x)) / (x.transpose(1, 2) @ x).clamp(min=1e-12)


def _convolution(inputs: int, outputs: int, *, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
