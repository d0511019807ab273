"""A network as others trained it: its own features, of its own width, from images as it wants them.

`Backbone` is what `train-backbone` makes; this is any other network, used without training.
"""

import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import BadInput
from ..preprocessing import Preprocessing
from .backbone import remove_classifier, require_torchvision, timm_network, torchvision_network
from .published import PUBLISHED, published

POOLING = {"class": "token", "average": "avg"}  # timm's names of the features of a transformer


class AsIs(nn.Module):
    """Images [B, 3, H, W] as its network wants them -> features [B, width] float32.

    body: the network up to these features.   l2: scale them to length 1.
    """

    def __init__(self, body: nn.Module, *, l2: bool = False) -> None:
        super().__init__()
        self.body, self.l2 = body, l2

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W].   returns: [B, width] float32."""
        features: Tensor = self.body(images)
        with torch.autocast(images.device.type, enabled=False):
            features = features.float()
            return functional.normalize(features) if self.l2 else features


class Architecture(NamedTuple):
    """How a network is built and what it wants.

    build:    (size, feature) -> a module with new weights, or timm's with those it was published.
    features: the names of those that it gives, its own first.
    rename:   a file's tensors -> under the module's names.
    """

    build: Callable[..., nn.Module]
    preprocessing: Preprocessing
    features: tuple[str, ...] = ()
    rename: Callable[..., dict[str, Tensor]] | None = None


def architecture(arch: str) -> Architecture:
    """Return a network by name: a published one, timm's or torchvision's.

    Raises:
        BadInput: there is no such network; names those that are spelled like it.
    """
    known = published(arch)
    if known is not None:
        rename = known.rename
        adapted = None if rename is None else (lambda given, network: rename(given))
        return Architecture(known.build, known.preprocessing, known.features, adapted)
    if arch.startswith("timm:"):
        return _of_timm(arch)
    require_torchvision(arch, others=tuple(PUBLISHED))
    return Architecture(lambda **_: _of_torchvision(arch), Preprocessing())


def _of_torchvision(arch: str) -> nn.Module:
    body = torchvision_network(arch)
    remove_classifier(body, arch)
    return body


def _of_timm(arch: str) -> Architecture:
    """Return timm's network with the preprocessing that it was published with."""
    bare, _ = timm_network(arch, None)
    from timm.data import resolve_model_data_config

    found = resolve_model_data_config(bare)
    fit = {"center": "crop", "squash": "stretch", "border": "pad"}[found["crop_mode"]]
    preprocessing = Preprocessing(
        height=found["input_size"][1],
        width=found["input_size"][2],
        resize=found["interpolation"],
        fit=fit,  # type: ignore[arg-type]
        crop=found["crop_pct"],
        mean=tuple(found["mean"]),
        std=tuple(found["std"]),
    )

    def build(size: tuple[int, int], feature: str, *, pretrained: bool = False) -> nn.Module:
        pooling = {} if feature == "pooled" else {"global_pool": POOLING[feature]}
        return timm_network(arch, size, pretrained=pretrained, **pooling)[0]

    features = ("pooled", *(POOLING if hasattr(bare, "cls_token") else ()))
    return Architecture(build, preprocessing, features, _as_timm)


def _as_timm(given: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return a file's tensors under timm's names, where timm knows the authors' own."""
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return dict(given)
    try:
        return dict(convert(dict(given), network))
    except (KeyError, ValueError, RuntimeError, AttributeError, IndexError, TypeError):
        return dict(given)  # names that it does not know: the loader says which do not fit


def chosen_feature(known: Architecture, feature: str, *, arch: str) -> str:
    """Return the name of a network's feature; "own" is the one its authors test.

    Raises:
        BadInput: it does not give that one.
    """
    if feature == "own":
        return known.features[0] if known.features else ""
    if feature not in known.features:
        listed = ", ".join(known.features) or "only its own"
        raise BadInput(f"feature {feature}: --arch {arch} gives {listed}")
    return feature
