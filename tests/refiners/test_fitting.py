"""Whitening and shaping against their definitions written out."""

import numpy as np
import pytest
import torch

from pipelines.refiners.closed_form import ClosedFormSettings
from pipelines.refiners.fitting import TrainingRows, fit_closed_form
from pipelines.refiners.whitening import Scatter, fit_whitening


def people(persons, each, width, seed=0):
    random = np.random.default_rng(seed)
    pids = np.repeat(np.arange(persons), each)
    features = random.normal(size=(persons, width))[pids] + random.normal(size=(len(pids), width))
    return features.astype(np.float32), pids, np.tile(np.arange(each) % 2, persons)


def matrix_of(scatter, **settings):
    return fit_whitening(scatter, **settings).apply(np.eye(scatter.width))


@pytest.mark.parametrize("width", [6, 60])  # fewer and more numbers than rows
def test_whitening_is_the_inverse_root_of_the_shrunk_covariance(width):
    train = TrainingRows.of(*people(8, 4, width))
    means = np.stack([train.rows[train.labels == p].mean(axis=0) for p in range(8)])
    rest = (train.rows - means[train.labels]).astype(np.float64)
    within = rest.T @ rest / (32 - 8)
    shrunk = 0.7 * within + 0.3 * np.trace(within) / width * np.eye(width)
    found = matrix_of(train.scatter("global"), shrinkage=0.3)
    assert np.allclose(found @ shrunk @ found.T, np.eye(width), atol=1e-5)


@pytest.mark.parametrize("between", [0.0, 0.3])
@pytest.mark.parametrize("width", [6, 60])
def test_turned_rows_are_whitened_as_they_were(width, between):
    scatter = TrainingRows.of(*people(8, 4, width)).scatter("global")
    basis, turned = scatter.in_own_directions()
    rows = np.random.default_rng(1).normal(size=(5, width))
    expected = fit_whitening(scatter, shrinkage=0.3, between=between).apply(rows) @ basis
    found = fit_whitening(turned, shrinkage=0.3, between=between).apply(rows @ basis)
    assert np.allclose(found, expected, atol=1e-9)


def test_directions_without_persons_count_less():
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(50), 20)
    rows = random.normal(size=(1000, 2))
    rows[:, 0] += 5 * random.normal(size=50)[labels]  # persons differ along the first only
    first, second = matrix_of(Scatter.of(rows, labels), shrinkage=0.5, between=0.01).T
    plain = matrix_of(Scatter.of(rows, labels), shrinkage=0.5).T
    norm = np.linalg.norm
    assert norm(first) / norm(second) > 1.5 * norm(plain[0]) / norm(plain[1])


def test_a_camera_shift_is_centred_away():
    features, pids, camids = people(10, 6, 12)
    features[camids == 1] += 3
    train = TrainingRows.of(features, pids, camids)
    rows = train.rows - train.means.of(camids)
    for camera in (0, 1):
        assert np.abs(rows[camids == camera].mean(axis=0)).max() < 1e-6
    closed_form = fit_closed_form(train, ClosedFormSettings(centre="camera", shrinkage=0.5))
    assert closed_form.cameras.tolist() == [0, 1]
    assert np.allclose(closed_form.camera_means, train.means.means, atol=1e-6)


def test_one_row_a_person_leaves_nothing_to_whiten():
    features, pids, camids = people(9, 1, 5)
    closed_form = fit_closed_form(
        TrainingRows.of(features, pids, camids), ClosedFormSettings(shrinkage=0.5)
    )
    assert torch.equal(closed_form.metric, torch.eye(5))
