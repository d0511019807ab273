"""Every tensor of a published checkpoint arrives, or is named: left out, missing, or unknown."""

from pathlib import Path

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
    "abdnet": ("classifier_", "common_branch.shallow_cam._cam_module_abc."),
    "": ("classifier",),
}
# Networks that differ in nothing that is stored.
TWINS = (
    ("fastreid:sbs_", "fastreid:agw_"),
    ("transreid:vit_base", "transreid:deit_base"),
    ("miewid:msv2", "miewid:msv3"),
)


# One of each family.
SMALLEST = (
    *("osnet_x0_25", "osnet_ibn_x1_0", "osnet_ain_x0_25", "torchreid:resnet50", "resnet50_fc512"),
    *("mlfn", "hacnn", "fastreid:bot_r50", "fastreid:sbs_r50_ibn", "bot_r50", "bot_r50_ibn"),
    *("transreid:vit_small", "transreid_ssl:vit_small", "pass:vit_small", "clipreid:vit"),
    *("clipreid:rn50", "solider:swin_tiny", "abdnet", "megadescriptor:t224", "miewid:msv3"),
)
ROOT = Path(__file__).parents[3]


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
    rename = PUBLISHED[arch].rename
    named = rename(given) if rename else given
    name = [one for one in ours.state_dict() if one.endswith(".weight")][1]
    del given[next(one for one, value in given.items() if torch.equal(value, named[name]))]
    message = rf"1 tensors differ: {name} is missing\. It looks like --arch {names_of(arch)}$"
    with pytest.raises(BadInput, match=message):
        load_network(ours, given, source="file.pth", rename=rename)


@pytest.mark.parametrize("arch", SMALLEST)
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


@pytest.mark.parametrize("arch", PUBLISHED)
def test_features_are_as_wide_as_the_manual_says(arch):
    known = PUBLISHED[arch]
    size = known.preprocessing.height, known.preprocessing.width
    table = (ROOT / "nformer_cli" / "manual" / "backbones.md").read_text()
    row = next(line for line in table.splitlines() if f"`{arch}`" in line and "×" in line)
    with torch.device("meta"):  # shapes alone
        for feature in known.features:
            shape = network(arch, feature).eval()(torch.empty(2, 3, *size)).shape
            assert len(shape) == 2 and f" {shape[1]} " in row and f"{size[0]}×{size[1]}" in row


def test_a_name_that_nobody_published_is_none():
    assert published("resnet50") is None and published("osnet_x1_0") is not None
