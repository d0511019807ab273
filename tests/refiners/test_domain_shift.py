"""Domain shift: its two distances by hand, and sets that are like training and unlike it."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from pipelines.errors import BadInput
from pipelines.refiners.domain_shift import LIMIT, Domain, DomainShift, _between, _divergence
from pipelines.refiners.fitting import TrainingRows, fit_shift


def people(persons, images, seed, *, world=0, width=24):
    """Rows of persons before two cameras, and their cameras; the world sets what they share."""
    shared = np.random.default_rng(world)
    mixing, offsets = shared.normal(size=(width, width)), shared.normal(size=(2, width))
    random = np.random.default_rng([seed, world])
    who = random.normal(size=(persons, width)) @ mixing
    camids = np.tile(np.arange(images) % 2, persons)
    noise = 0.5 * random.normal(size=(persons * images, width)) @ mixing
    rows = who.repeat(images, axis=0) + noise + 4 * offsets[camids]
    unit = normalize(torch.from_numpy(rows)).float()
    labels = torch.arange(persons).repeat_interleave(images)
    return TrainingRows(unit, labels, torch.from_numpy(camids))


def test_the_divergence_of_two_covariances_by_hand():
    one, other = torch.eye(2).double(), torch.diag(torch.tensor([2.0, 0.5])).double()
    assert _divergence(one, one) == pytest.approx(0, abs=1e-12)
    assert _divergence(one, other) == pytest.approx(2.0 + 0.5 - np.log(1.0) - 2)
    assert _divergence(2 * one, other) == pytest.approx(1.0 + 0.25 - np.log(0.25) - 2)


def test_units_between_two_sizes_are_read_off_on_logarithmic_scales():
    sizes, values = torch.tensor([32.0, 128.0]), torch.tensor([16.0, 4.0])
    found = [_between(sizes, values, at=size) for size in (8, 32, 64, 128, 4000)]
    assert found == pytest.approx([16, 16, 8, 4, 4])
    assert _between(sizes[:1], values[:1], at=500) == 16


def test_the_distance_of_means_is_in_units_of_two_halves():
    shift = DomainShift(dim=2, cameras=1)
    shift.means.copy_(torch.tensor([[0.0, 0.0], [9.0, 9.0]]))
    shift.rows.copy_(torch.tensor([4.0, 4.0]))
    shift.steps.copy_(torch.tensor([0.5, 0.0]))  # of all rows: not measured
    rows, camids = torch.tensor([[3.0, 4.0], [3.0, 4.0]]), torch.tensor([-1, -1])
    means = TrainingRows(rows, camids, camids).means
    # 5 apart, a unit of 0.5·√(4/4): two halves of two rows each differ by that much.
    assert shift._mean_distance(rows, camids, means=means) == pytest.approx(10)


@pytest.mark.parametrize("persons, images", [(60, 6), (200, 2), (20, 30)])
def test_others_of_the_same_world_are_like_training_and_those_of_another_are_not(persons, images):
    shift = fit_shift(people(persons, images, 0))
    for seed in (1, 2):
        for count, each in ((60, 6), (200, 1)):
            other = people(count, each, seed)
            assert shift.of(other.rows, other.camids) < 1.6
            assert shift.of(other.rows, torch.full_like(other.camids, -1)) < 1.6
            foreign = people(count, each, seed, world=5)
            assert shift.of(foreign.rows, foreign.camids) > LIMIT


def test_nothing_is_foreign_where_nothing_could_be_measured():
    rows, camids = people(30, 2, 0).rows, torch.zeros(60, dtype=torch.int64)
    assert DomainShift(dim=24, cameras=0).of(rows, camids) == 1
    assert fit_shift(people(60, 6, 0)).of(rows[:7], camids[:7]) == 1  # too few rows
    two = fit_shift(people(2, 3, 0))
    assert two.of(rows, camids) == 1 and np.isfinite(two.means.numpy()).all()


def test_what_is_assumed_goes_before_what_is_found():
    assert Domain(9.0).foreign and not Domain(9.0, "same").foreign
    assert not Domain(0.5).foreign and Domain(0.5, "foreign").foreign
    assert Domain(9.0).as_table() == {
        "shift": 9.0,
        "assume": "auto",
        "limit": LIMIT,
        "foreign": True,
        "words": "foreign (9.0)",
    }
    assert "left as they are. --assume same refines them" in str(Domain(9.0))
    assert "like the training set" in str(Domain(0.5))
    with pytest.raises(BadInput, match="assume 'maybe' is none of auto, same, foreign"):
        Domain(0.5, "maybe")
