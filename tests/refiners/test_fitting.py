"""Whitening and shaping against their definitions written out."""

import numpy as np
import pytest
import torch
from helpers.people import scattered

from pipelines.refiners.closed_form import ClosedFormSettings
from pipelines.refiners.fitting import TrainingRows, fit_closed_form
from pipelines.refiners.whitening import Scatter, fit_whitening


def people(persons, each, width, seed=0):
    random = np.random.default_rng(seed)
    pids = np.repeat(np.arange(persons), each)
    features = scattered(pids, width=width, noise=1.0, random=random)
    return features.astype(np.float32), pids, np.tile(np.arange(each) % 2, persons)


def matrix_of(scatter, **settings):
    return fit_whitening(scatter, **settings).apply(torch.eye(scatter.width).double())


@pytest.mark.parametrize("width", [6, 60])  # fewer and more numbers than rows
def test_whitening_is_the_inverse_root_of_the_shrunk_covariance(width):
    train = TrainingRows.of(*people(8, 4, width))
    rows = train.rows.double()
    means = torch.stack([rows[train.labels == p].mean(dim=0) for p in range(8)])
    rest = rows - means[train.labels]
    within = rest.T @ rest / (32 - 8)
    shrunk = 0.7 * within + 0.3 * torch.trace(within) / width * torch.eye(width).double()
    found = matrix_of(train.scatter("global"), shrinkage=0.3)
    assert np.allclose(found @ shrunk @ found.T, np.eye(width), atol=1e-5)


@pytest.mark.parametrize("between", [0.0, 0.3])
@pytest.mark.parametrize("width", [6, 60])
def test_turned_rows_are_whitened_as_they_were(width, between):
    scatter = TrainingRows.of(*people(8, 4, width)).scatter("global")
    basis, turned = scatter.in_own_directions()
    rows = torch.from_numpy(np.random.default_rng(1).normal(size=(5, width)))
    expected = fit_whitening(scatter, shrinkage=0.3, between=between).apply(rows) @ basis
    found = fit_whitening(turned, shrinkage=0.3, between=between).apply(rows @ basis)
    assert np.allclose(found, expected, atol=1e-9)


def test_directions_without_persons_count_less():
    torch.manual_seed(0)
    labels = torch.arange(50).repeat_interleave(20)
    rows = torch.randn(1000, 2).double()
    rows[:, 0] += 5 * torch.randn(50).double()[labels]  # persons differ along the first only
    first, second = matrix_of(Scatter.of(rows, labels), shrinkage=0.5, between=0.01).T
    plain = matrix_of(Scatter.of(rows, labels), shrinkage=0.5).T
    assert first.norm() / second.norm() > 1.5 * plain[0].norm() / plain[1].norm()


def test_numpy_and_torch_whiten_alike():
    train = TrainingRows.of(*people(8, 4, 12))
    arrays = train.rows.double().numpy(), train.labels.numpy()
    settings = {"shrinkage": 0.3, "between": 0.5}
    found = fit_whitening(Scatter.of(*arrays), **settings).apply(arrays[0])
    expected = fit_whitening(Scatter.of(*map(torch.from_numpy, arrays)), **settings)
    assert np.allclose(found, expected.apply(train.rows.double()), atol=1e-9)


def test_a_camera_shift_is_centred_away():
    features, pids, camids = people(10, 6, 12)
    features[camids == 1] += 3
    train = TrainingRows.of(features, pids, camids)
    rows = train.rows - train.means.of(train.camids)
    for camera in (0, 1):
        assert rows[train.camids == camera].mean(dim=0).abs().max() < 1e-6
    closed_form = fit_closed_form(train, ClosedFormSettings(centre="camera", shrinkage=0.5))
    assert closed_form.cameras.tolist() == [0, 1]
    assert torch.allclose(closed_form.camera_means.double(), train.means.means, atol=1e-6)


def test_one_row_a_person_leaves_nothing_to_whiten():
    features, pids, camids = people(9, 1, 5)
    closed_form = fit_closed_form(
        TrainingRows.of(features, pids, camids), ClosedFormSettings(shrinkage=0.5)
    )
    assert torch.equal(closed_form.metric, torch.eye(5))
