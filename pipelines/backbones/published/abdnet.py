"""The authors' ABD-Net (Chen et al., ICCV 2019; github.com/VITA-Group/ABD-Net), by our names."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from ...preprocessing import Preprocessing
from ..abdnet import ABDNet
from ..backbone import keep_resolution, torchvision_network
from .entry import Published

PARTS = 2  # --abd-np of their training command: an upper and a lower half
# Beginnings of their names, G and A for the number of the global and of the attentive branch.
NAMES = {
    "common_branch.backbone1.0.": "conv1.",
    "common_branch.backbone1.1.": "bn1.",
    "common_branch.backbone1.4.": "layer1.",
    "common_branch.backbone2.0.": "layer2.",
    "common_branch.backbone2.1.": "layer3.",
    "common_branch.shallow_cam._cam_module.": "shallow_attention.",
    "branches.G.0.backbone.": "layer4.",
    "branches.G.1.fc.": "global_features.",
    "branches.A.0.backbone.": "attentive_layer4.",
    "branches.A.1.reduction.": "reduction.",
    "branches.A.1.before_module.": "identity_head.",
    "branches.A.1.cam_module.": "channel_head.",
    "branches.A.1.pam_module.": "position_head.",
    "branches.A.1.sum_conv.": "sum.",
    "branches.G.1.classifier.": "classifier_global.",
    "branches.A.1.classifiers.": "classifier_",
}
IN_HEADS = {
    "conv5c": "before",
    "attention_module": "attention",
    "conv52": "after",
    "conv7": "out",
}


def by_our_names(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return their tensors by the names of our ABDNet.

    The order of their branches is that of a Python set, and differs from one training to another.
    """
    roles = {
        f"branches.{match[1]}.": f"branches.{'G' if match[2] == 'fc' else 'A'}."
        for match in (re.match(r"branches\.(\d+)\.1\.(fc|reduction)\.", name) for name in given)
        if match
    }
    found = {}
    for name, value in given.items():
        branch = re.match(r"branches\.\d+\.", name)
        if branch and branch[0] in roles:
            name = name.replace(branch[0], roles[branch[0]], 1)
        theirs = next((start for start in NAMES if name.startswith(start)), None)
        if theirs is not None:
            name = NAMES[theirs] + name.removeprefix(theirs)
            name = re.sub(r"(?<=_head\.)\w+", lambda word: IN_HEADS.get(word[0], word[0]), name)
        found[name] = value
    return found


def _build(*, size: tuple[int, int], feature: str = "pooled") -> nn.Module:
    resnet = torchvision_network("resnet50")
    keep_resolution(resnet, "stride1")
    network = ABDNet(resnet, parts=PARTS)
    network.aside = ("common_branch.shallow_cam._cam_module_abc.",)  # the same attention again
    return network


NETWORKS = {
    "abdnet": Published(
        build=_build,
        preprocessing=Preprocessing(height=384, width=128),
        origin="Chen et al., ICCV 2019; github.com/VITA-Group/ABD-Net",
        rename=by_our_names,
    )
}
