"""The paired bootstrap: known answers, and the pairing at work."""

import numpy as np
import pytest

from pipelines.ranking.bootstrap import Difference, paired_difference


def test_a_constant_gain_is_certain_and_exact():
    first = np.array([0.1, 0.5, 0.9])
    found = paired_difference(first, first + 0.05, random=np.random.default_rng(0))
    assert found.mean == pytest.approx(0.05)
    assert (found.low, found.high) == (pytest.approx(0.05), pytest.approx(0.05))
    assert found.certain


def test_no_difference_is_not_certain():
    values = np.linspace(0, 1, 20)
    assert paired_difference(values, values, random=np.random.default_rng(0)) == (0, 0, 0)
    assert not Difference(0.0, 0.0, 0.0).certain
    assert not Difference(0.01, -0.01, 0.03).certain
    assert Difference(-0.02, -0.03, -0.01).certain


def test_the_interval_is_that_of_the_normal_law_for_many_queries():
    gain = np.random.default_rng(3).normal(0.02, 0.1, 4000)
    found = paired_difference(np.zeros(4000), gain, random=np.random.default_rng(1))
    error = gain.std() / np.sqrt(4000)
    assert found.low == pytest.approx(gain.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(gain.mean() + 1.96 * error, abs=0.15 * error)


def test_pairing_sees_a_small_gain_on_very_different_queries():
    random = np.random.default_rng(5)
    first = random.uniform(0, 0.9, 300)
    second = first + random.normal(0.01, 0.02, 300)
    assert paired_difference(first, second, random=random).certain
    assert not paired_difference(first, random.permutation(second), random=random).certain
