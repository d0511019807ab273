"""The closed form's settings, means, metric and layers, each with values worked out by hand."""

import numpy as np
import pytest
import torch
from helpers.dense import random_rows

from pipelines.errors import BadInput
from pipelines.refiners import closed_form as module
from pipelines.refiners.closed_form import (
    ClosedForm,
    ClosedFormGallery,
    ClosedFormSettings,
    Means,
    camera_ids,
)


def rows_of(count, seed, width=6):
    return random_rows(count, seed, width)


def trained(**settings):
    """A closed form of two numbers that knows cameras 4 and 7."""
    found = ClosedForm(dim=2, cameras=2, **settings)
    found.mean.copy_(torch.tensor([0.5, 0.25]))
    found.cameras.copy_(torch.tensor([4, 7]))
    found.camera_means.copy_(torch.tensor([[0.5, 0.0], [0.0, 0.25]]))
    return found


def test_the_defaults_change_nothing_and_are_told_as_a_table():
    assert ClosedFormSettings().as_table() == {
        "centre": "none",
        "shrinkage": 1.0,
        "between": 0.0,
        "neighbours": 1,
        "per_camera": False,
        "sharpness": 0.0,
        "layers": 1,
        "averaged": [],
        "gate": False,
    }


def test_an_untrained_closed_form_knows_no_camera_and_turns_nothing():
    model = ClosedForm(dim=3)
    assert (model.cameras.shape, model.camera_means.shape) == ((0,), (0, 3))
    assert model.cameras.dtype == torch.int64 and model.mean.tolist() == [0, 0, 0]
    assert torch.equal(model.metric, torch.eye(3)) and float(model.images) == 0
    assert model.within.tolist() == model.between.tolist() == [0] * 80


@pytest.mark.parametrize(
    "settings, uses",
    [
        ({}, False),
        ({"centre": "global", "neighbours": 5}, False),
        ({"centre": "camera"}, True),
        ({"per_camera": True, "neighbours": 1}, False),
        ({"per_camera": True, "neighbours": 2}, True),
        ({"per_camera": False, "neighbours": 2}, False),
    ],
)
def test_which_settings_use_cameras(settings, uses):
    assert ClosedFormSettings(**settings).uses_cameras is uses


RANGE = "closed form: shrinkage must be in (0, 1], between at least 0"
COUNTS = "closed form: neighbours and layers must be at least 1"


@pytest.mark.parametrize(
    "wrong, text",
    [
        ({"centre": "median"}, "closed form: centre 'median' is none of none, global, camera"),
        ({"shrinkage": 0.0}, RANGE),
        ({"shrinkage": 1.01}, RANGE),
        ({"between": -0.01}, RANGE),
        ({"averaged": ((0.5, 0.0), (0.0, 0.0))}, RANGE),
        ({"sharpness": -0.01}, "closed form: sharpness must be at least 0"),
        ({"neighbours": 0}, COUNTS),
        ({"layers": 0}, COUNTS),
    ],
)
def test_settings_out_of_range_are_refused(wrong, text):
    with pytest.raises(BadInput) as error:
        ClosedFormSettings(**wrong)
    assert str(error.value) == text


def test_an_unknown_camera_has_the_mean_of_the_set():
    centre = torch.tensor([9.0, 9.0])
    means = Means(centre, torch.tensor([2, 5]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    found = means.of(torch.tensor([5, 2, 3, -1, 8]))
    assert found.tolist() == [[0, 1], [1, 0], [9, 9], [9, 9], [9, 9]]
    none = Means(centre, means.cameras[:0], means.means[:0])
    assert none.of(torch.tensor([5, -1])).tolist() == [[9, 9], [9, 9]]


def test_means_by_hand():
    """A mean counts what is expected as one row more: the training's, or the set's."""
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    camids = torch.tensor([9, 4, 4])
    whole = [1.5 / 4, 0.25 / 4]  # ([1, 0] + [0.5, 0.25]) / 4
    for centre, expected in (("none", [0.0, 0.0]), ("global", whole), ("camera", whole)):
        means = trained(centre=centre).means(rows, camids)
        assert means.centre.tolist() == expected and means.centre.dtype == torch.float64
        assert len(means.cameras) == len(means.means) == (3 if centre == "camera" else 0)
    # Camera 9: ([1, 0] + whole)/2. Camera 4: whole/3, where its training mean was [0.5, 0]. Camera
    # 7 is not here: its training mean, moved as camera 4 has.
    nine, four = [(1 + whole[0]) / 2, whole[1] / 2], [whole[0] / 3, whole[1] / 3]
    seven = [0.0 + four[0] - 0.5, 0.25 + four[1] - 0.0]
    assert means.cameras.tolist() == [4, 7, 9]
    assert means.means.numpy() == pytest.approx(np.array([four, seven, nine]))
    assert means.means.dtype == torch.float64
    unknown = trained(centre="camera").means(rows, torch.full((3,), -1))
    assert unknown.centre.tolist() == whole and len(unknown.cameras) == 0


def test_training_cameras_stay_where_none_is_shared_and_move_by_the_mean_of_those_that_are():
    model = trained(centre="camera")
    rows = torch.tensor([[1.0, 0.0]])
    apart = model.means(rows, torch.tensor([0]))  # a camera before all others: nothing is shared
    whole = np.array([1.5 / 2, 0.25 / 2])
    expected = np.array([(np.array([1.0, 0.0]) + whole) / 2, [0.5, 0.0], [0.0, 0.25]])
    assert apart.cameras.tolist() == [0, 4, 7]
    assert apart.means.numpy() == pytest.approx(expected)
    three = ClosedForm(dim=2, cameras=3, centre="camera")
    three.cameras.copy_(torch.tensor([1, 2, 3]))
    three.camera_means.copy_(torch.tensor([[0.25, 0.0], [0.0, 0.5], [1.0, 1.0]]))
    found = three.means(torch.eye(2), torch.tensor([1, 2]))
    one, two = np.array([4 / 3, 1 / 3]) / 2, np.array([1 / 3, 4 / 3]) / 2
    moved = ((one - [0.25, 0.0]) + (two - [0.0, 0.5])) / 2
    assert found.means.numpy() == pytest.approx(np.array([one, two, moved + 1]), abs=1e-6)
    all_here = model.means(torch.eye(2), torch.tensor([4, 7]))
    assert all_here.cameras.tolist() == [4, 7]


def test_means_are_the_same_in_any_block(monkeypatch):
    model, rows = ClosedForm(dim=6, centre="global"), rows_of(50, 0)
    whole = model.means(rows, torch.zeros(50, dtype=torch.int64)).centre
    assert torch.allclose(whole, rows.double().sum(dim=0) / 51)
    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    assert torch.allclose(model.means(rows, torch.zeros(50, dtype=torch.int64)).centre, whole)


def two_layers():
    model = ClosedForm(
        dim=6, centre="camera", neighbours=3, per_camera=True, sharpness=2.0, layers=2
    )
    model.metric.copy_(torch.diag(torch.arange(1.0, 7.0)))
    return model


def test_a_set_as_named_tensors():
    gallery = two_layers().gallery(rows_of(20, 2), torch.arange(20) % 2)
    graph = ("lists", "kept", "reach", "groups", "cameras", "neighbours")
    named = gallery.tensors()
    assert set(named) == {
        *("rows", "camids", "means/centre", "means/cameras", "means/means", "shift", "assume"),
        *("hidden/0", "hidden/1", "hidden/2"),
        *(f"graph/{number}/{name}" for number in (0, 1) for name in graph),
    }
    assert named["graph/1/neighbours"].tolist() == 3
    again = ClosedFormGallery.of(named)
    assert torch.equal(again.rows, gallery.rows) and torch.equal(again.camids, gallery.camids)
    assert [graph.neighbours for graph in again.graphs] == [3, 3]
    for ours, theirs in zip(again.hidden, gallery.hidden, strict=True):
        assert torch.equal(ours, theirs)
    assert again.domain == gallery.domain and again.gated is None
    assert torch.equal(again.refined, gallery.hidden[-1])


def test_camera_ids_of_all_kinds():
    here = torch.device("cpu")
    assert camera_ids(None, 2, device=here).tolist() == [-1, -1]
    for given in ([3, 1], (3, 1), np.array([3, 1], np.int16), torch.tensor([3, 1])):
        found = camera_ids(given, 2, device=here)
        assert found.tolist() == [3, 1] and found.dtype == torch.int64
    with pytest.raises(BadInput) as error:
        camera_ids([[1], [2]], 2, device=here)
    assert str(error.value) == "2 embeddings, but camera ids of the shape [2, 1]"
