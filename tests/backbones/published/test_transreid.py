"""What TransReID and CLIP-ReID know of cameras is averaged, and TransReID's jigsaw branch goes."""

import pytest
import torch
from helpers.published_tensors import numbered, shapes_of

from pipelines.backbones.published import PUBLISHED
from pipelines.backbones.state_dicts import load_network
from pipelines.backbones.uninitialised import SkipInitialisation


def loaded(arch, given, feature):
    with SkipInitialisation():
        network = PUBLISHED[arch].build(size=(256, 128), feature=feature)
    found = load_network(network, given, source="file.pth", rename=PUBLISHED[arch].rename)
    return network, found


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_file_with_jpm_and_cameras_gives_its_global_branch(prefix):
    given = numbered(shapes_of("transreid:vit_base_jpm"))
    given["base.sie_embed"] = torch.arange(6.0)[:, None, None].expand(6, 1, 768)
    network, found = loaded(
        "transreid:vit_base_s12",
        {f"{prefix}{name}": value for name, value in given.items()},
        "after",
    )
    base = network.base
    assert torch.equal(base.blocks[11].norm1.weight, given["b1.0.norm1.weight"])
    assert torch.equal(base.blocks[10].norm1.weight, given["base.blocks.10.norm1.weight"])
    assert torch.equal(base.norm.bias, given["b1.1.bias"])
    assert torch.equal(base.pos_embed, given["base.pos_embed"] + 3 * 2.5)
    beside = ("b2.", "bottleneck_", "classifier", "base.fc.")
    assert all(name.startswith(beside) for name in found.left_out)


def test_clipreids_cameras_are_averaged_into_the_class_token():
    given = numbered(shapes_of("clipreid:vit"))
    given["cv_embed"] = torch.arange(6.0)[:, None].expand(6, 768)
    network, _ = loaded("clipreid:vit", given, "before")
    expected = given["image_encoder.class_embedding"] + 2.5
    assert torch.equal(network.image_encoder.class_embedding, expected)


def test_weights_from_before_the_reid_training_are_read_too():
    whole = numbered(shapes_of("transreid_ssl:vit_small"))
    body = {
        name.replace("base.", "module.backbone."): value
        for name, value in whole.items()
        if name.startswith("base.") and ".fc." not in name
    }
    heads = {"module.head.mlp.0.weight": torch.zeros(2048, 384)}
    network, found = loaded(
        "transreid_ssl:vit_small", {"teacher": body | heads, "epoch": 99}, "before"
    )
    assert torch.equal(network.base.cls_token, whole["base.cls_token"])
    assert found.left_out == ("head.mlp.0.weight",)
