"""State dicts fit, or the error lists what does not."""

import pytest
import torch
from torchvision import models

from pipelines.errors import BadInput
from pipelines.models.backbone import build_backbone
from pipelines.models.weights import load_weights


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
        r"layer1\.2\.bn1\.bias is unknown here, .* and 88 more\. Check --arch"
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
