"""The backbone is torchvision's network with our head, and takes its weights."""

import sys

import pytest
import torch
from torchvision import models

from pipelines.backbones.backbone import Backbone, build_backbone, require_image_size
from pipelines.backbones.embedder import Embedder
from pipelines.backbones.state_dicts import load_weights
from pipelines.errors import BadInput

IMAGES = torch.randn(4, 3, 64, 32, generator=torch.Generator().manual_seed(0))
# As wide as bf16 is used for on CPUs: with AMX it is wrong for narrower ones.
WIDE = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def small(**settings):
    return build_backbone(
        "resnet18", **{"classes": 5, "dim": 16, "last_stage": "stride2"} | settings
    )


def settle(backbone):
    """Give batch norms the statistics of some images, as training does."""
    backbone.train()
    with torch.no_grad():
        for _ in range(5):
            backbone(IMAGES)
    return backbone.eval()


def test_training_gives_embeddings_and_logits_evaluation_the_neck():
    backbone = settle(small())
    with torch.no_grad():
        neck = backbone(IMAGES)
        output = backbone.train()(IMAGES)
    assert output.embedding.shape == (4, 16) and output.logits.shape == (4, 5)
    assert neck.shape == (4, 16)


def test_the_neck_has_no_shift_and_the_classifier_no_bias():
    backbone = small()
    assert backbone.classifier.bias is None
    assert not backbone.bottleneck.bias.requires_grad


@pytest.mark.parametrize("arch", ["resnet50"])
def test_the_last_stage_is_dilated_as_torchvision_dilates_it(arch):
    torch.manual_seed(0)
    reference = models.get_model(arch, replace_stride_with_dilation=[False, False, True])
    reference.fc = torch.nn.Identity()
    backbone = build_backbone(arch, classes=2)
    load_weights(backbone, reference.state_dict(), source="reference")
    with torch.no_grad():
        torch.testing.assert_close(backbone.body.eval()(IMAGES), reference.eval()(IMAGES))


@pytest.mark.parametrize(
    "last_stage, shape", [("dilated", (4, 2)), ("stride1", (4, 2)), ("stride2", (2, 1))]
)
@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_the_last_stage_keeps_a_total_stride_of_16_when_asked(arch, last_stage, shape):
    backbone = build_backbone(arch, classes=2, last_stage=last_stage).eval()
    found = []
    backbone.body.layer4.register_forward_hook(lambda m, i, output: found.append(output.shape[2:]))
    with torch.no_grad():
        backbone(IMAGES[:1])
    assert tuple(found[0]) == shape


@pytest.mark.parametrize(
    "arch, width",
    [
        ("mobilenet_v2", 1280),
        ("mobilenet_v3_small", 1024),
        ("shufflenet_v2_x0_5", 1024),
        ("convnext_tiny", 768),
        ("efficientnet_b0", 1280),
        ("densenet121", 1024),
        ("regnet_y_400mf", 440),
        ("swin_t", 768),
    ],
)
def test_other_networks_end_in_their_pooled_features(arch, width):
    backbone = build_backbone(arch, classes=2, dim=8).eval()
    assert backbone.projection.in_features == width
    with torch.no_grad():
        assert backbone(IMAGES[:1]).shape == (1, 8)


def test_an_unknown_network_names_near_ones():
    with pytest.raises(BadInput, match="resnet51: no such network; spelled like it: resnet"):
        build_backbone("resnet51", classes=2)


def test_a_segmentation_network_is_not_taken():
    with pytest.raises(BadInput, match="fcn_resnet50: no such network"):
        build_backbone("fcn_resnet50", classes=2)


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v2", "convnext_tiny"])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_the_embedder_equals_evaluation_mode(arch, dtype, tolerance):
    backbone = settle(build_backbone(arch, classes=2, dim=16, last_stage="stride2"))
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    embedder = Embedder(backbone, device=torch.device("cpu"), dtype=dtype)
    with torch.no_grad():
        expected = backbone(WIDE)
    cosine = torch.cosine_similarity(embedder(WIDE), expected)
    assert embedder.folded and (1 - cosine).max() < tolerance
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_a_network_that_cannot_be_traced_is_embedded_as_it_is():
    class Choosing(torch.nn.Module):
        def forward(self, images):
            pooled = images.mean(dim=(2, 3))
            return pooled if pooled.sum() > 0 else -pooled

    backbone = Backbone(body=Choosing(), width=3, dim=2, classes=2).eval()
    embedder = Embedder(backbone, device=torch.device("cpu"), dtype=torch.float32)
    assert not embedder.folded
    with torch.no_grad():
        torch.testing.assert_close(embedder(IMAGES), backbone(IMAGES))


def test_flip_averages_both_views():
    backbone = settle(small())
    plain, both = (
        Embedder(backbone, device=torch.device("cpu"), dtype=torch.float32, flip=flip)
        for flip in (False, True)
    )
    expected = (plain(IMAGES) + plain(IMAGES.flip(3))) / 2
    torch.testing.assert_close(both(IMAGES), expected)
    torch.testing.assert_close(both(IMAGES.flip(3)), expected)


@pytest.mark.parametrize("name, width", [("resnet10t", 512), ("vit_tiny_patch16_224", 192)])
def test_timms_networks_serve_where_timm_is_installed(name, width):
    pytest.importorskip("timm")
    backbone = build_backbone(f"timm:{name}", classes=2, dim=8, size=(64, 32)).eval()
    assert backbone.projection.in_features == width
    with torch.no_grad():
        assert backbone(IMAGES[:1]).shape == (1, 8)


def test_timms_unknown_network_names_near_ones():
    pytest.importorskip("timm")
    with pytest.raises(BadInput, match="timm has no such network; near are resnet"):
        build_backbone("timm:resnet51", classes=2)


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BadInput, match=r"needs timm: python -m pip install 'nformer\[timm\]'"):
        build_backbone("timm:resnet18", classes=2)


def test_a_network_that_takes_other_images_says_so():
    backbone = build_backbone("vit_b_32", classes=2)
    with pytest.raises(
        BadInput, match="vit_b_32 does not take images of 64×32: Wrong image height"
    ):
        require_image_size(backbone, "vit_b_32", height=64, width=32)
    require_image_size(backbone, "vit_b_32", height=224, width=224)
    assert backbone.training


def test_osnet_has_its_published_size():
    backbone = build_backbone("osnet_x1_0", classes=2)
    classifier_of_imagenet = 512 * 1000 + 1000
    parameters = sum(p.numel() for p in backbone.body.parameters())
    assert round((parameters + classifier_of_imagenet) / 1e6, 1) == 2.7  # torchreid's model zoo
    with torch.no_grad():
        assert backbone.eval()(IMAGES).shape == (4, 256)


def test_the_names_known_without_pytorch_are_those_that_there_are():
    from torchvision import models

    from pipelines.backbones import names, osnet
    from pipelines.backbones.published import PUBLISHED

    assert sorted(names.torchvision_names()) == models.list_models(models)
    assert sorted(names.AS_PUBLISHED) == sorted(PUBLISHED)
    assert tuple(osnet.CHANNELS) == names.OSNETS
