"""MegaDescriptor's files are of timm's names then and now; the authors' ABD-Net's of any order."""

import torch
from helpers.published_tensors import numbered, shapes_of

from pipelines.backbones.published.abdnet import by_our_names
from pipelines.backbones.published.wildlife import as_timm_now


def test_mergings_move_to_the_stage_that_they_begin():
    now = numbered(shapes_of("megadescriptor:t224"))
    before = {
        name.replace("layers.1.down", "layers.0.down")
        .replace("layers.2.down", "layers.1.down")
        .replace("layers.3.down", "layers.2.down"): value
        for name, value in now.items()
    }
    assert before.keys() != now.keys()
    for given in (before, now):
        found = as_timm_now(given)
        assert found.keys() == now.keys()
        assert all(torch.equal(value, now[name]) for name, value in found.items())


def test_the_branches_of_abdnet_may_stand_in_any_order():
    given = numbered(shapes_of("abdnet"))
    swapped = {
        name.replace("branches.0.", "branches.x.")
        .replace("branches.1.", "branches.0.")
        .replace("branches.x.", "branches.1."): value
        for name, value in given.items()
    }
    one, other = by_our_names(given), by_our_names(swapped)
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    theirs = given["branches.1.1.cam_module.conv5c.0.weight"]
    assert torch.equal(one["channel_head.before.0.weight"], theirs)
