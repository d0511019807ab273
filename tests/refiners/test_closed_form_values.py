"""The closed form's settings, means, metric and layers, each with values worked out by hand."""

import logging

import numpy as np
import pytest
import torch
from helpers.dense import random_rows
from torch.nn.functional import normalize

from pipelines.errors import BadInput
from pipelines.refiners import closed_form as module
from pipelines.refiners.closed_form import (
    ClosedForm,
    ClosedFormGallery,
    ClosedFormSettings,
    Means,
    camera_ids,
)
from pipelines.refiners.mutual_neighbours import (
    camera_graph,
    query_edges,
    read_gallery,
    read_listed,
)


def read_queries(query, camids, rows, graph, *, sharpness):
    """Each query's sum with what it reads."""
    listed = query_edges(query, camids, rows=rows, graph=graph)
    return read_listed(query, rows, listed=listed, sharpness=sharpness)


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


RANGE = "closed form: shrinkage must be in (0, 1], between and sharpness at least 0"
COUNTS = "closed form: neighbours and layers must be at least 1"


@pytest.mark.parametrize(
    "wrong, text",
    [
        ({"centre": "median"}, "closed form: centre 'median' is none of none, global, camera"),
        ({"shrinkage": 0.0}, RANGE),
        ({"shrinkage": 1.01}, RANGE),
        ({"between": -0.01}, RANGE),
        ({"sharpness": -0.01}, RANGE),
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
    assert means.means.dtype == torch.float64 and bool(means.plain) is False
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


def test_standardised_rows_by_hand(monkeypatch):
    model = trained(centre="camera")
    model.metric.copy_(torch.tensor([[2.0, 1.0], [0.0, 1.0]]))
    means = Means(torch.tensor([0.0, 1.0]), torch.tensor([4]), torch.tensor([[0.5, 0.5]]).double())
    rows, camids = torch.tensor([[1.0, 1.5], [1.0, 1.0], [1.5, 0.5]]), torch.tensor([4, -1, 4])
    # Centred: [0.5, 1], [1, 0], [1, 0]; times the metric: [1, 1.5], [2, 1], [2, 1].
    expected = normalize(torch.tensor([[1.0, 1.5], [2.0, 1.0], [2.0, 1.0]]))
    for block in (16384, 2, 1):
        monkeypatch.setattr(module, "BLOCK_ROWS", block)
        found = model.standardise(rows, camids, means)
        assert found.dtype == torch.float32 and torch.allclose(found, expected, atol=1e-6)
    plain = Means(means.centre, means.cameras, means.means, torch.tensor(True))
    centred = normalize(torch.tensor([[0.5, 1.0], [1.0, 0.0], [1.0, 0.0]]))
    assert torch.allclose(model.standardise(rows, camids, plain), centred, atol=1e-6)


def test_means_are_the_same_in_any_block(monkeypatch):
    model, rows = ClosedForm(dim=6, centre="global"), rows_of(50, 0)
    whole = model.means(rows, torch.zeros(50, dtype=torch.int64)).centre
    assert torch.allclose(whole, rows.double().sum(dim=0) / 51)
    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    assert torch.allclose(model.means(rows, torch.zeros(50, dtype=torch.int64)).centre, whole)


def test_the_graph_is_of_all_rows_or_of_each_camera():
    rows, camids = rows_of(20, 1), torch.arange(20) % 2
    for per_camera, groups in ((True, camids), (False, torch.zeros_like(camids))):
        graph = ClosedForm(dim=6, per_camera=per_camera).graph(rows, camids, 3)
        assert torch.equal(graph.lists, camera_graph(rows, groups=groups, k=3).lists)
        assert torch.equal(graph.kept, camera_graph(rows, groups=groups, k=3).kept)


@pytest.mark.parametrize("k, layers", [(1, 0), (2, 3), (5, 3)])
def test_without_neighbours_there_are_no_layers(k, layers):
    assert ClosedForm(dim=2, layers=3).layers(k) == layers


@pytest.mark.parametrize(
    "images, found, k, said",
    [
        (0.0, 40.0, 4, ""),  # k fits every set
        (6.0, None, 4, ""),  # another kind of set
        (6.0, 7.0, 4, ""),
        (6.0, 24.0, 16, "about 24.0 images of each person here, 6.0 where k = 4 was chosen: k is "),
    ],
)
def test_k_of_a_set(monkeypatch, caplog, images, found, k, said):
    model = ClosedForm(dim=2, neighbours=4)
    model.images.fill_(images)
    model.within.fill_(1.0)
    asked = []
    monkeypatch.setattr(module, "images_per_person", lambda *given: asked.append(given) or found)
    rows = rows_of(3, 0, 2)
    with caplog.at_level(logging.WARNING, logger="nformer"):
        assert model.fitting_neighbours(rows) == k
    assert caplog.messages == ([f"{said}16"] if said else [])
    assert len(asked) == (images > 0)
    for given in asked:
        expected = (rows, model.within, model.between)
        assert all(one is other for one, other in zip(given, expected, strict=True))


@pytest.mark.parametrize(
    "images, rows, spread, foreign",
    [
        (2.0, 100, 1.8, True),
        (2.0, 100, 1.79, False),
        (2.0, 99, 9.0, False),  # too few to tell
        (0.0, 200, 9.0, False),  # k fits every set: nothing is known of training's
    ],
)
def test_data_of_another_kind(monkeypatch, caplog, images, rows, spread, foreign):
    model = ClosedForm(dim=2)
    model.images.fill_(images)
    monkeypatch.setattr(module, "as_spread", lambda *_: (None, spread))
    with caplog.at_level(logging.WARNING, logger="nformer"):
        assert model.is_foreign(rows_of(rows, 0, 2)) is foreign
    text = (
        "similarities are spread 1.8 times as wide here as among training identities: data of "
        "another kind, so the whitening learned there is left out"
    )
    assert caplog.record_tuples == [("nformer", logging.WARNING, text)] * foreign


def two_layers():
    model = ClosedForm(
        dim=6, centre="camera", neighbours=3, per_camera=True, sharpness=2.0, layers=2
    )
    model.metric.copy_(torch.diag(torch.arange(1.0, 7.0)))
    return model


def test_a_set_is_standardised_and_reads_layer_by_layer():
    model, rows, camids = two_layers(), rows_of(40, 2), torch.arange(40) % 2
    gallery = model.gallery(rows, camids)
    means = model.means(rows, camids)
    first = model.standardise(rows, camids, means)
    second = read_gallery(first, camera_graph(first, groups=camids, k=3), sharpness=2.0)
    third = read_gallery(second, camera_graph(second, groups=camids, k=3), sharpness=2.0)
    assert len(gallery.hidden) == 3 and len(gallery.graphs) == 2
    for found, expected in zip(gallery.hidden, (first, second, third), strict=True):
        assert torch.allclose(found, expected, atol=1e-6)
    assert not torch.allclose(second, third, atol=1e-3)
    query, asking = rows_of(5, 3), torch.tensor([0, 1, 0, 5, -1])
    states = model.standardise(query, asking, means)
    for items, graph in zip((first, second), gallery.graphs, strict=True):
        states = read_queries(states, asking, items, graph, sharpness=2.0)
    assert torch.allclose(model.query(gallery, query, asking), states, atol=1e-6)
    assert not gallery.hidden[-1].requires_grad


def test_k_may_be_given_and_is_fitted_to_the_standardised_rows_otherwise(monkeypatch):
    model, rows, camids = two_layers(), rows_of(40, 2), torch.arange(40) % 2
    asked = []
    monkeypatch.setattr(
        ClosedForm, "fitting_neighbours", lambda self, rows: asked.append(rows.clone()) or 5
    )
    assert {graph.neighbours for graph in model.gallery(rows, camids).graphs} == {5}
    standard = model.standardise(rows, camids, model.means(rows, camids))
    assert len(asked) == 1 and torch.equal(asked[0], standard)
    assert {graph.neighbours for graph in model.gallery(rows, camids, neighbours=4).graphs} == {4}
    assert model.gallery(rows, camids, neighbours=1).graphs == ()
    assert len(asked) == 1


def test_a_set_as_named_tensors():
    gallery = two_layers().gallery(rows_of(20, 2), torch.arange(20) % 2)
    graph = ("lists", "kept", "reach", "groups", "cameras", "neighbours")
    named = gallery.tensors()
    assert set(named) == {
        *("rows", "camids", "means/centre", "means/cameras", "means/means", "means/plain"),
        *("hidden/0", "hidden/1", "hidden/2"),
        *(f"graph/{number}/{name}" for number in (0, 1) for name in graph),
    }
    assert named["graph/1/neighbours"].tolist() == 3
    again = ClosedFormGallery.of(named)
    assert torch.equal(again.rows, gallery.rows) and torch.equal(again.camids, gallery.camids)
    assert [graph.neighbours for graph in again.graphs] == [3, 3]
    for ours, theirs in zip(again.hidden, gallery.hidden, strict=True):
        assert torch.equal(ours, theirs)
    del named["means/plain"]  # files of before have none
    assert bool(ClosedFormGallery.of(named).means.plain) is False


def test_camera_ids_of_all_kinds():
    here = torch.device("cpu")
    assert camera_ids(None, 2, device=here).tolist() == [-1, -1]
    for given in ([3, 1], (3, 1), np.array([3, 1], np.int16), torch.tensor([3, 1])):
        found = camera_ids(given, 2, device=here)
        assert found.tolist() == [3, 1] and found.dtype == torch.int64
    with pytest.raises(BadInput) as error:
        camera_ids([[1], [2]], 2, device=here)
    assert str(error.value) == "2 embeddings, but camera ids of the shape [2, 1]"
