"""Domain shift: its two distances by hand, and sets that are like training and unlike it."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from pipelines.errors import BadInput
from pipelines.refiners.domain_shift import LIMIT, Domain, DomainShift, _root, _variation
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


def test_variation_by_hand():
    # Both shrunk by a tenth towards a sphere: diag(1.9, 0.1) and diag(0.1, 1.9).
    one, other = torch.diag(torch.tensor([2.0, 0.0])).double(), torch.diag(torch.tensor([0, 3.0]))
    assert _variation(one, _root(one)) == pytest.approx(1)
    assert _variation(5 * one, _root(one)) == pytest.approx(1)  # of any size
    assert _variation(other.double(), _root(one)) == pytest.approx((0.1 / 1.9 + 1.9 / 0.1) / 2)


def test_variation_is_the_same_on_the_average_whoever_is_sampled():
    world = people(2000, 4, 0)
    root = _root(world.rows.double().T @ world.rows.double())
    found = []
    for seed in range(40):
        some = people(3, 4, seed).rows.double()
        found.append(_variation(some.T @ some, root))
    assert np.mean(found) == pytest.approx(1, abs=0.1)


def test_the_distance_of_means_is_in_units_of_training_rows():
    shift = DomainShift(dim=2, cameras=1)
    shift.means.copy_(torch.tensor([[0.0, 0.0], [9.0, 9.0]]))
    rows, camids = torch.tensor([[3.0, 4.0], [3.0, 4.0]]), torch.tensor([-1, -1])
    root, unit = torch.eye(2).double(), torch.tensor(0.5).double()
    # 25 from the nearer mean, squared, of 2 · 0.5 that one row deviates by.
    assert shift._mean_distance(rows, camids, root=root, unit=unit) == pytest.approx(25)


@pytest.mark.parametrize("persons, images", [(60, 6), (200, 2), (20, 30)])
def test_others_of_the_same_world_are_like_training_and_those_of_another_are_not(persons, images):
    shift = fit_shift(people(persons, images, 0))
    for seed in (1, 2):
        for count, each in ((60, 6), (200, 1), (10, 30), (6, 40)):
            other = people(count, each, seed)
            assert shift.of(other.rows, other.camids) < 1.7
            assert shift.of(other.rows, torch.full_like(other.camids, -1)) < 1.7
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
    assert "so they stay as they are. --assume same refines them" in str(Domain(9.0))
    assert "like the training set" in str(Domain(0.5))
    with pytest.raises(BadInput, match="assume 'maybe' is none of auto, same, foreign"):
        Domain(0.5, "maybe")
