"""Every tensor of a published checkpoint arrives, or is named: left out, missing, or unknown."""

import pytest
import torch
from helpers.published_tensors import numbered, shapes_of

from pipelines.backbones.published import PUBLISHED, published
from pipelines.backbones.state_dicts import load_network
from pipelines.backbones.uninitialised import SkipInitialisation
from pipelines.errors import BadInput

# What a checkpoint holds beside the feature, by the beginning of the network's name.
LEFT_OUT = {
    "fastreid:": ("heads.weight",),
    "bot_": ("classifier.", "base.fc."),
    "transreid": ("classifier.", "base.fc.", "bottleneck."),
    "pass:": ("classifier.", "base.fc.", "bottleneck"),
    "clipreid:": ("classifier", "bottleneck", "text_encoder.", "prompt_learner."),
    "solider:": ("classifier.", "bottleneck.", "base.norm", "base.semantic_embed_", "base.stages."),
    "": ("classifier",),
}
# Networks that differ in nothing that is stored.
TWINS = (("fastreid:sbs_", "fastreid:agw_"), ("transreid:vit_base", "transreid:deit_base"))


def network(arch, feature=None):
    known = PUBLISHED[arch]
    size = known.preprocessing.height, known.preprocessing.width
    return known.build(size=size, feature=feature or known.features[0])


def beside_the_feature(arch):
    return next(names for family, names in LEFT_OUT.items() if arch.startswith(family))


def names_of(arch):
    """Return a network's name, or those of networks with the same tensors."""
    if arch == "torchreid:resnet50":
        return f"resnet50 or {arch}"
    for one, other in TWINS:
        if arch.startswith((one, other)):
            return f"{arch.replace(other, one)} or {arch.replace(one, other)}"
    return arch


@pytest.mark.parametrize("arch", PUBLISHED)
def test_every_tensor_arrives_and_the_rest_is_named(arch):
    given = numbered(shapes_of(arch))
    with SkipInitialisation():
        ours = network(arch)
    loaded = load_network(ours, given, source="file.pth", rename=PUBLISHED[arch].rename)
    assert set(loaded.made_anew) <= {"heads.pool_layer.p"}  # AGW's is 3 and not stored
    assert all(name.startswith(beside_the_feature(arch)) for name in loaded.left_out)
    wanted = PUBLISHED[arch].rename(given) if PUBLISHED[arch].rename else given
    assert loaded.taken + len(loaded.left_out) == len(wanted)
    for name, value in ours.state_dict().items():
        assert name in loaded.made_anew or torch.equal(value.float(), wanted[name]), name


@pytest.mark.parametrize("arch", PUBLISHED)
def test_a_missing_tensor_is_refused_and_the_network_is_named(arch):
    given = numbered(shapes_of(arch))
    with SkipInitialisation():
        ours = network(arch)
    taken = [name for name in given if name in ours.state_dict() and name.endswith(".weight")]
    del given[taken[1]]
    message = rf"1 tensors differ: {taken[1]} is missing\. It looks like --arch {names_of(arch)}$"
    with pytest.raises(BadInput, match=message):
        load_network(ours, given, source="file.pth", rename=PUBLISHED[arch].rename)


@pytest.mark.parametrize("arch", PUBLISHED)
def test_features_are_rows_of_finite_numbers(arch):
    known = PUBLISHED[arch]
    for feature in known.features:
        torch.manual_seed(0)
        ours = network(arch, feature).eval()
        images = torch.randn(2, 3, known.preprocessing.height, known.preprocessing.width)
        with torch.inference_mode():
            rows = ours(images)
        assert rows.ndim == 2 and len(rows) == 2 and rows.isfinite().all()
        assert not torch.allclose(rows[0], rows[1])


def test_a_name_that_nobody_published_is_none():
    assert published("resnet50") is None and published("osnet_x1_0") is not None
