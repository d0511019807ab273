"""State dicts fit, or the error lists what does not."""

import pytest
import torch
from torchvision import models

from pipelines.backbones.backbone import build_backbone
from pipelines.backbones.osnet import CHANNELS, OSNet
from pipelines.backbones.state_dicts import load_weights
from pipelines.backbones.tensor_names import nearest_text
from pipelines.errors import BadInput


def backbone(arch="resnet18", classes=5):
    return build_backbone(arch, classes=classes, dim=16)


def test_torchvisions_weights_are_taken_and_its_classifier_left_out():
    given = models.resnet18().state_dict()
    ours = backbone()
    loaded = load_weights(ours, given, source="file.pth")
    assert torch.equal(ours.body.layer1[0].conv1.weight, given["layer1.0.conv1.weight"])
    assert str(loaded) == (
        "120 of 122 tensors taken; left out: fc.bias, fc.weight; "
        "made anew: projection, bottleneck, classifier"
    )


def test_mobilenet_without_its_classifier_loads_whole(shared):
    given = torch.load(shared("weights/mobilenet_v2_imagenet.pth"), weights_only=True)
    loaded = load_weights(backbone("mobilenet_v2"), given, source="file.pth")
    assert (loaded.taken, loaded.given, loaded.left_out) == (312, 312, ())


def test_a_head_that_lacks_altogether_is_made_anew():
    given = models.convnext_tiny().state_dict()
    bare = {name: value for name, value in given.items() if not name.startswith("classifier")}
    loaded = load_weights(backbone("convnext_tiny"), bare, source="file.pth")
    assert loaded.made_anew[:2] == ("classifier.0.weight", "classifier.0.bias")


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "net"])
def test_wrappings_and_prefixes_are_taken_off(wrapper):
    given = {f"module.{name}": value for name, value in models.resnet18().state_dict().items()}
    loaded = load_weights(backbone(), {wrapper: given, "epoch": 3}, source="file.pth")
    assert loaded.taken == 120


def test_our_own_backbone_of_another_data_set_keeps_its_neck():
    theirs, ours = backbone(classes=7), backbone(classes=5)
    loaded = load_weights(ours, theirs.state_dict(), source="backbone.pt")
    assert loaded.left_out == loaded.made_anew == ("classifier.weight",)
    assert torch.equal(ours.projection.weight, theirs.projection.weight)


def test_another_network_is_refused_with_a_list():
    given = models.resnet34().state_dict()
    message = (
        r"file\.pth does not fit this backbone, 96 tensors differ: "
        r"layer1\.2\.bn1\.bias is unknown here, .* and 88 more\. It looks like --arch resnet34"
    )
    with pytest.raises(BadInput, match=message):
        load_weights(backbone(), given, source="file.pth")


def test_a_missing_tensor_is_named():
    given = models.resnet18().state_dict()
    del given["layer1.0.conv1.weight"]
    with pytest.raises(BadInput, match=r"1 tensors differ: layer1\.0\.conv1\.weight is missing"):
        load_weights(backbone(), given, source="file.pth")


def test_a_tensor_of_another_shape_is_named_with_both():
    given = models.resnet18().state_dict()
    given["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    message = r"conv1\.weight is \(64, 1, 7, 7\), wanted \(64, 3, 7, 7\)"
    with pytest.raises(BadInput, match=message):
        load_weights(backbone(), given, source="file.pth")


@pytest.mark.parametrize("content", [{}, [1, 2], torch.zeros(3), {"epoch": 3}])
def test_a_file_without_tensors_says_so(content):
    with pytest.raises(BadInput, match=r"file\.pth holds no"):
        load_weights(backbone(), content, source="file.pth")


def test_counters_of_batch_norm_may_lack():
    given = models.resnet18().state_dict()
    old = {name: value for name, value in given.items() if "num_batches" not in name}
    assert load_weights(backbone(), old, source="file.pth").taken == 100


def under(prefix, tensors):
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def test_torchreids_resnet_is_known_by_its_classifier():
    given = models.resnet18().state_dict()
    given["classifier.weight"], given["classifier.bias"] = (
        given.pop("fc.weight"),
        given.pop("fc.bias"),
    )
    loaded = load_weights(backbone(), given, source="file.pth")
    assert loaded.left_out == ("classifier.bias", "classifier.weight") and loaded.taken == 120


def test_torchreids_osnet_loads_into_ours():
    given = {
        **OSNet(CHANNELS["osnet_x0_25"]).state_dict(),
        "classifier.weight": torch.zeros(751, 512),
    }
    ours = backbone("osnet_x0_25")
    loaded = load_weights(ours, under("module.", given), source="file.pth")
    assert loaded.left_out == ("classifier.weight",)
    assert torch.equal(ours.body.conv5.conv.weight, given["conv5.conv.weight"])


def test_fastreids_backbone_is_taken_and_its_heads_left_out():
    given = under("backbone.", models.resnet18().state_dict())
    given = {name: value for name, value in given.items() if ".fc." not in name}
    given |= {"heads.weight": torch.zeros(751, 512), "pixel_mean": torch.zeros(3)}
    ours = backbone()
    loaded = load_weights(ours, {"model": given}, source="file.pth")
    assert torch.equal(ours.body.conv1.weight, given["backbone.conv1.weight"])
    assert loaded.taken == 120


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_the_released_backbone_brings_its_projection_and_neck(prefix):
    theirs = backbone(classes=7)
    names = {"body.": "base."}
    given = {"nformer.h.0.ln_1.g": torch.zeros(3)}
    for name, value in theirs.state_dict().items():
        for ours_name, released in names.items():
            name = name.replace(ours_name, released)
        given[f"{prefix}{name}"] = value
    ours = backbone(classes=5)
    loaded = load_weights(ours, given, source="file.pth")
    assert torch.equal(ours.projection.weight, theirs.projection.weight)
    assert torch.equal(ours.body.conv1.weight, theirs.body.conv1.weight)
    assert loaded.left_out == ("classifier.weight",)


def test_a_resnet_serves_both_branches_of_abdnet():
    given = models.resnet50().state_dict()
    ours = backbone("abdnet")
    loaded = load_weights(ours, given, source="file.pth")
    for stage in ("layer4", "attentive_layer4"):
        weight = ours.body.get_submodule(stage)[0].conv1.weight
        assert torch.equal(weight, given["layer4.0.conv1.weight"])
    assert loaded.left_out == ("fc.bias", "fc.weight")


def test_what_is_like_nothing_known_says_so():
    with pytest.raises(BadInput, match="It looks like none of the networks known by"):
        load_weights(backbone(), {"encoder.weight": torch.zeros(3)}, source="file.pth")


@pytest.mark.parametrize(
    "arch",
    ["resnet18", "resnet34", "resnet50", "mobilenet_v2", "efficientnet_b0", "osnet_x0_5"],
)
def test_a_network_is_known_by_its_sign(arch):
    names = f"{arch} or torchreid:{arch}" if arch == "resnet50" else arch  # the same tensors
    assert nearest_text(backbone(arch).body.state_dict()) == f"It looks like --arch {names}"


@pytest.mark.parametrize(
    "prefix", ["model.", "_orig_mod.", "module._orig_mod.", "backbone.", "a.very.own.name."]
)
@pytest.mark.parametrize(
    "wrapped",
    [
        lambda given: given,
        lambda given: {"teacher": given, "epoch": 3},
        lambda given: {"model": {"state_dict": given}, "optimizer": {"state": {0: {}}}},
        lambda given: {"network": {name: value.numpy() for name, value in given.items()}},
    ],
)
def test_any_wrapping_and_any_prefix_is_found_by_the_names(prefix, wrapped):
    given = under(prefix, models.resnet18().state_dict())
    heads = {"classifier.add_block.0.weight": torch.zeros(512, 512), "scale": torch.zeros(1)}
    ours = backbone()
    loaded = load_weights(ours, wrapped(given | heads), source="file.pth")
    assert torch.equal(ours.body.conv1.weight, given[f"{prefix}conv1.weight"])
    assert loaded.taken == 120 and loaded.given == 124 and len(loaded.left_out) == 4


def test_a_neck_beside_the_body_is_left_out_but_not_a_part_of_another_body():
    given = under("base.", models.resnet18().state_dict())
    given |= {"bottleneck.weight": torch.ones(512), "classifier.weight": torch.ones(751, 512)}
    assert "bottleneck.weight" in load_weights(backbone(), given, source="file.pth").left_out
    given = models.resnet18().state_dict() | {"NL_2.0.g.weight": torch.ones(3)}
    with pytest.raises(BadInput, match=r"1 tensors differ: NL_2\.0\.g\.weight is unknown here"):
        load_weights(backbone(), given, source="file.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_of_a_training_that_failed_are_refused(value):
    given = models.resnet18().state_dict()
    given["conv1.weight"][0] = value
    with pytest.raises(BadInput, match=r"file\.pth: conv1\.weight hold NaN or infinite values"):
        load_weights(backbone(), given, source="file.pth")
