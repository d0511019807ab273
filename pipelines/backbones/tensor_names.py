"""Map other programs' tensor names to a backbone's, and find the network that fits best."""

from collections.abc import Mapping

from torch import Tensor

CLASSIFIERS = ("classifier", "fc", "head", "heads")  # as torchvision, torchreid and fast-reid say
# One tensor that tells a network from those below it in this list.
SIGNS = (
    ("resnet152", "layer3.35.conv3.weight", (1024, 256, 1, 1)),
    ("resnet101", "layer3.22.conv3.weight", (1024, 256, 1, 1)),
    ("resnet50", "layer3.5.conv3.weight", (1024, 256, 1, 1)),
    ("resnet34", "layer3.5.conv2.weight", (256, 256, 3, 3)),
    ("resnet18", "layer4.1.conv2.weight", (512, 512, 3, 3)),
    ("mobilenet_v2", "features.17.conv.2.weight", (320, 960, 1, 1)),
    ("convnext_tiny", "features.5.8.block.0.weight", (384, 1, 7, 7)),
    ("densenet121", "features.denseblock4.denselayer16.conv2.weight", (32, 128, 3, 3)),
    ("efficientnet_b0", "features.7.0.block.3.0.weight", (320, 1152, 1, 1)),
    ("swin_t", "features.5.5.attn.qkv.weight", (1152, 384)),
    ("osnet_ain_x1_0", "pool3.0.conv.weight", (384, 384, 1, 1)),
    ("osnet_ain_x0_75", "pool3.0.conv.weight", (288, 288, 1, 1)),
    ("osnet_ain_x0_5", "pool3.0.conv.weight", (192, 192, 1, 1)),
    ("osnet_ain_x0_25", "pool3.0.conv.weight", (96, 96, 1, 1)),
    ("osnet_ibn_x1_0", "conv2.0.IN.weight", (256,)),
    ("osnet_x1_0", "conv5.conv.weight", (512, 512, 1, 1)),
    ("osnet_x0_75", "conv5.conv.weight", (384, 384, 1, 1)),
    ("osnet_x0_5", "conv5.conv.weight", (256, 256, 1, 1)),
    ("osnet_x0_25", "conv5.conv.weight", (128, 128, 1, 1)),
)


def as_ours(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the released NFormer's state dict under our names; another's as it is.

    It has [backbone.]base.*, projection, bottleneck, classifier; and nformer.* apart.
    """
    if not any(name.startswith(("base.", "backbone.base.")) for name in given):
        return dict(given)
    found = {}
    for name, value in given.items():
        if name.startswith("nformer."):
            continue
        short = name.removeprefix("backbone.")
        found[f"body.{short[5:]}" if short.startswith("base.") else short] = value
    return found


def nearest_text(given: Mapping[str, Tensor]) -> str:
    """Return a sentence that names the known network that the given tensors look like."""
    for arch, sign, shape in SIGNS:
        if any(n.endswith(sign) and tuple(value.shape) == shape for n, value in given.items()):
            return f"It looks like --arch {arch}"
    known = ", ".join(arch for arch, _, _ in SIGNS)
    return f"It looks like none of the networks known by their names: {known}. Check --arch"
