import torch
from torch import nn

from pipelines.backbones.backbone import build_backbone
from pipelines.backbones.uninitialised import SkipInitialisation


def test_nothing_is_drawn_and_constants_are_set():
    drawn = torch.get_rng_state()
    with SkipInitialisation():
        layer = nn.Linear(3, 2)
        norm = nn.BatchNorm1d(2)
        filled = nn.init.normal_(torch.ones(2))
    assert torch.equal(torch.get_rng_state(), drawn)
    assert layer.weight.shape == (2, 3) and filled.tolist() == [1, 1]
    assert norm.weight.tolist() == [1, 1] and norm.running_mean.tolist() == [0, 0]
    nn.Linear(3, 2)
    assert not torch.equal(torch.get_rng_state(), drawn)


def test_a_network_that_takes_its_weights_from_another_equals_it():
    for arch in ("shufflenet_v2_x0_5", "osnet_x0_25"):
        given = build_backbone(arch, classes=4, dim=8).eval()
        with SkipInitialisation():
            bare = build_backbone(arch, classes=4, dim=8).eval()
        bare.load_state_dict(given.state_dict(), assign=True)
        images = torch.rand(2, 3, 64, 32)
        assert torch.equal(bare(images), given(images))
