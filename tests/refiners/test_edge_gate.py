"""The edge gate: features by hand, and who reads whom with which weight."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from pipelines.refiners.edge_gate import (
    EdgeGate,
    Gated,
    edge_features,
    item_features,
    joined,
    query_features,
)


def on_a_circle(*degrees):
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def cosine(degrees):
    return math.cos(math.radians(degrees))


def test_lists_hold_the_others_nearest_first_and_copies_too():
    found = Gated.of(on_a_circle(0.0, 10.0, 30.0), torch.tensor([0, 0, 1]))
    assert found.lists.tolist() == [[1, 2], [0, 2], [1, 0]]
    assert found.cosines[0].tolist() == pytest.approx([cosine(10), cosine(30)])
    copies = Gated.of(on_a_circle(0.0, 0.0, 0.0), torch.zeros(3))
    assert [sorted(row) for row in copies.lists.tolist()] == [[1, 2], [0, 2], [0, 1]]
    alone = Gated.of(on_a_circle(0.0), torch.zeros(1))
    assert alone.lists.shape == (1, 0) and item_features(alone).shape == (1, 0, 18)


def test_features_of_an_edge_by_hand():
    items = Gated.of(on_a_circle(0.0, 10.0, 30.0), torch.tensor([3, -1, 4]))
    features = item_features(items)
    edge = features[0, 1]  # from row 0 to row 2, its second, at 30°; row 2's second as well
    density = (cosine(10) + cosine(30)) / 2, (cosine(20) + cosine(30)) / 2
    assert edge.tolist() == pytest.approx(
        [
            cosine(30),
            1 / 20,
            math.log(2),  # its place is 1
            math.log(2),  # one item is nearer to row 2
            1.0,  # row 2 lists row 0
            1 / 5,  # both list row 1
            1 / 10,
            1 / 20,
            cosine(30) - density[0],
            cosine(30) - density[1],
            cosine(30) - cosine(10),
            0.0,  # cameras 3 and 4
            1.0,
            0.0,
            *items.profile.tolist(),
        ],
        abs=1e-6,
    )
    assert features[0, 0, 11:13].tolist() == [0.0, 0.0]  # row 1's camera is not known


def test_the_profile_of_a_set_by_hand():
    items = Gated.of(on_a_circle(0.0, 10.0, 30.0), torch.zeros(3))
    gaps = [cosine(10) - cosine(30), cosine(10) - cosine(20), cosine(20) - cosine(30)]
    # Two neighbours each: the second is also the last, and stands for the fourth and the eighth.
    assert items.profile.tolist() == pytest.approx([sum(gaps) / 3, 0, 0, 0], abs=1e-6)
    assert item_features(items)[2, 1, 14:].tolist() == items.profile.tolist()


def test_a_query_is_told_apart_and_reads_items_alone():
    items = Gated.of(on_a_circle(0.0, 10.0, 30.0), torch.tensor([3, 3, 4]))
    query = on_a_circle(12.0, 100.0)
    lists, features = query_features(items, query, camids=torch.tensor([3, -1]))
    assert lists.tolist() == [[1, 0, 2], [2, 1, 0]]
    assert features[..., 13].unique().tolist() == [1.0]
    assert features[0, :, 11].tolist() == [1.0, 1.0, 0.0]
    assert features[1, :, 12].tolist() == [0.0] * 3
    alone = query_features(items, query[1:], camids=torch.tensor([-1]))
    assert torch.equal(alone[0], lists[1:]) and torch.equal(alone[1], features[1:])


def test_weights_are_likelihoods_and_twice_that_from_queries():
    gate = EdgeGate()
    gate.layers[-1].weight.data.zero_()
    gate.layers[-1].bias.data.fill_(math.log(3))  # odds of three to one
    items = Gated.of(on_a_circle(0.0, 10.0, 30.0), torch.zeros(3))
    _, weights = gate.edges(items, on_a_circle(12.0), camids=torch.zeros(1))
    assert torch.allclose(weights, torch.full((1, 3), 1.5))
    rows = items.rows
    expected = normalize(rows + 0.75 * (rows.sum(dim=0) - rows))
    assert torch.allclose(gate.read_items(items), expected, atol=1e-6)


def test_a_feature_of_infinite_scale_is_left_out():
    gate = EdgeGate()
    gate.scale[12] = torch.inf
    assert not gate.uses_cameras and EdgeGate().uses_cameras
    features = torch.randn(4, 18)
    other = features.clone()
    other[:, 12] += 5
    assert torch.equal(gate(features), gate(other))


def test_sums_and_gated_rows_count_half_each():
    assert torch.allclose(joined(on_a_circle(0.0), on_a_circle(60.0)), on_a_circle(30.0))


def test_features_are_the_same_in_any_block(monkeypatch):
    from pipelines.refiners import edge_gate

    rows = normalize(torch.randn(50, 8, generator=torch.Generator().manual_seed(0)))
    items = Gated.of(rows, torch.arange(50) % 3)
    whole = item_features(items)
    assert whole.shape == (50, 20, 18) and whole.isfinite().all()
    monkeypatch.setattr(edge_gate, "BLOCK_ROWS", 7)
    assert torch.equal(item_features(items), whole)
    part = edge_features(
        items.lists[:3], items.cosines[:3], camids=items.camids[:3], items=items, query=False
    )
    assert torch.equal(part, whole[:3])
