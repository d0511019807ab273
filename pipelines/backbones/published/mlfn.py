"""MLFN (Chang et al., CVPR 2018): grouped blocks, switched by what the image shows."""

import torch
from torch import Tensor, nn

GROUPS = 32
FEATURES = 1024
# Each block: channels in and out, stride, widths of its selection module.
BLOCKS = (
    *((64, 256, 1, (128, 64)), *((256, 256, 1, (128, 64)),) * 2),
    *((256, 512, 2, (256, 128)), *((512, 512, 1, (256, 128)),) * 3),
    *((512, 1024, 2, (512, 128)), *((1024, 1024, 1, (512, 128)),) * 5),
    *((1024, 2048, 2, (512, 128)), *((2048, 2048, 1, (512, 128)),) * 2),
)


class MLFNBlock(nn.Module):
    """A ResNeXt block whose 32 groups are weighted by a factor selection module."""

    def __init__(
        self, inputs: int, outputs: int, *, stride: int, selection: tuple[int, int]
    ) -> None:
        super().__init__()
        middle = outputs // 2
        self.fm_conv1 = nn.Conv2d(inputs, middle, 1, bias=False)
        self.fm_bn1 = nn.BatchNorm2d(middle)
        self.fm_conv2 = nn.Conv2d(
            middle, middle, 3, stride=stride, padding=1, bias=False, groups=GROUPS
        )
        self.fm_bn2 = nn.BatchNorm2d(middle)
        self.fm_conv3 = nn.Conv2d(middle, outputs, 1, bias=False)
        self.fm_bn3 = nn.BatchNorm2d(outputs)
        first, second = selection
        self.fsm = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            *(nn.Conv2d(inputs, first, 1), nn.BatchNorm2d(first), nn.ReLU()),
            *(nn.Conv2d(first, second, 1), nn.BatchNorm2d(second), nn.ReLU()),
            *(nn.Conv2d(second, GROUPS, 1), nn.BatchNorm2d(GROUPS), nn.Sigmoid()),
        )
        self.downsample: nn.Module = nn.Identity()
        if inputs != outputs or stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: [B, inputs, H, W].   returns: [B, outputs, H/stride, W/stride] and [B, 32, 1, 1]."""
        switches = self.fsm(x)  # [B, 32, 1, 1]
        y = self.fm_bn1(self.fm_conv1(x)).relu()
        y = self.fm_bn2(self.fm_conv2(y)).relu()
        y = y * switches.repeat_interleave(y.shape[1] // GROUPS, dim=1)
        y = self.fm_bn3(self.fm_conv3(y)).relu()
        return (self.downsample(x) + y).relu(), switches


class MLFN(nn.Module):
    """Images [B, 3, H, W] -> features [B, 1024]; tensors as torchreid names them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, BLOCKS[0][0], 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(BLOCKS[0][0])
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.feature = nn.ModuleList(
            MLFNBlock(inputs, outputs, stride=stride, selection=selection)
            for inputs, outputs, stride, selection in BLOCKS
        )
        self.fc_x = _projection(BLOCKS[-1][1])
        self.fc_s = _projection(GROUPS * len(BLOCKS))

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W].   returns: [B, 1024]."""
        x = self.maxpool(self.bn1(self.conv1(images)).relu())
        found = []
        for block in self.feature:
            x, switches = block(x)
            found.append(switches)
        pooled = x.mean(dim=(2, 3), keepdim=True)  # [B, 2048, 1, 1]
        return (self.fc_x(pooled) + self.fc_s(torch.cat(found, dim=1))).flatten(1) / 2


def _projection(inputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, FEATURES, 1, bias=False), nn.BatchNorm2d(FEATURES), nn.ReLU()
    )
