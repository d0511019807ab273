"""Map other programs' tensor names to a network's, and find the network that fits best."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import cache

import torch
from torch import Tensor

from ..errors import BadInput

CLASSIFIERS = ("classifier", "fc", "head", "heads")  # as torchvision, torchreid and fast-reid say
TORCHVISION = (  # those of its networks that a file is compared with, beside the published ones
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("mobilenet_v2", "convnext_tiny", "densenet121", "efficientnet_b0", "swin_t"),
)
LIKE = 0.5  # share of a network's tensors from which on a file looks like it


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


def without_prefix(
    given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors below the prefix under which most names are wanted, and the others' names.

    `module.`, `model.`, `_orig_mod.`, `backbone.`…: found by matching names, not by a list. What
    lies beside the prefix is another part of their model.
    """
    found: Counter[str] = Counter()
    for name, value in given.items():
        parts = name.split(".")
        for start in range(len(parts)):
            inner = wanted.get(".".join(parts[start:]))
            if inner is not None and inner.shape == value.shape:
                found[".".join((*parts[:start], ""))] += 1
                break
    prefix = max(found, key=lambda one: (found[one], -len(one)), default="")
    inside = {n.removeprefix(prefix): value for n, value in given.items() if n.startswith(prefix)}
    return inside, sorted(name for name in given if not name.startswith(prefix))


def without_common_prefix(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors without the first parts that all their names share (`module.`…)."""
    found = dict(given)
    while len(found) > 1:
        first = next(iter(found)).partition(".")[0] + "."
        if not all(name.startswith(first) for name in found):
            break
        found = {name.removeprefix(first): value for name, value in found.items()}
    return found


def nearest_text(given: Mapping[str, Tensor]) -> str:
    """Return a sentence that names the known networks that the given tensors look most like."""
    from .published import PUBLISHED

    best, nearest = 0.0, list[str]()
    for arch, wanted in _known().items():
        rename = PUBLISHED[arch].rename if arch in PUBLISHED else None
        renamed = rename(without_common_prefix(given)) if rename else given
        inside = without_prefix(renamed, wanted)[0]
        same = sum(n in inside and inside[n].shape == value.shape for n, value in wanted.items())
        likeness = same / (len(wanted) + len(renamed) - same)
        if same < LIKE * len(wanted) or likeness < best:
            continue
        nearest = [*nearest, arch] if likeness == best else [arch]
        best = likeness
    if nearest:
        return f"It looks like --arch {' or '.join(nearest)}"
    return "It looks like none of the networks known by their tensors' names. Check --arch"


@cache
def _known() -> dict[str, dict[str, Tensor]]:
    """Return each known network's tensors, of which there are the shapes alone."""
    from .backbone import remove_classifier, torchvision_network
    from .published import PUBLISHED

    found = {}
    with torch.device("meta"):
        for arch in TORCHVISION:
            network = torchvision_network(arch)
            remove_classifier(network, arch)  # a file may have another one, or none
            found[arch] = network.state_dict()
        for arch, known in PUBLISHED.items():
            size = known.preprocessing.height, known.preprocessing.width
            with suppress(BadInput):  # it needs timm, and timm is not installed
                found[arch] = known.build(size=size, feature=known.features[0]).state_dict()
    return found
