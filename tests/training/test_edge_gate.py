"""Training the edge gate: what it learns, on whose edges, and when it is dropped."""

import numpy as np
import pytest
import torch

from pipelines.refiners.closed_form import ClosedFormSettings
from pipelines.refiners.edge_gate import Gated, item_features
from pipelines.refiners.fitting import TrainingRows
from pipelines.training import edge_gate
from pipelines.training.edge_gate import (
    PARTS,
    Edges,
    across_cameras,
    fit_gate,
    thin,
    train_edge_gate,
)
from pipelines.training.folds import Split


class Counted:
    """A task that counts."""

    done = 0

    def advance(self, amount=1, **figures):
        self.done += amount

    skip = advance


@pytest.fixture
def task():
    return Counted()


def people(persons, images, *, noise, width=32, seed=0):
    random = np.random.default_rng(seed)
    pids = np.repeat(np.arange(persons), images)
    rows = random.normal(size=(persons, width))[pids]
    rows = rows + noise * random.normal(size=rows.shape)
    return TrainingRows.of(rows, pids, camids=np.arange(len(pids)) % 3)


def test_a_gate_learns_the_feature_that_tells_and_ignores_a_constant_one(task):
    features = torch.randn(4000, 18, generator=torch.Generator().manual_seed(0))
    features[:, 5] = 2.0
    edges = Edges(features, (features[:, 0] > 0.5).float(), torch.arange(4000) // 20)
    gate = fit_gate(edges, profiled=True, seed=0, task=task)
    right = (gate(features) > 0) == (edges.same > 0)
    assert right.float().mean() > 0.97
    assert gate.scale[5] == torch.inf and gate.scale[4] < 2
    again = fit_gate(edges, profiled=True, seed=0, task=task)
    assert torch.equal(gate(features), again(features))
    blind = fit_gate(edges, profiled=False, seed=0, task=task)
    assert torch.isinf(blind.scale[14:]).all() and not torch.isinf(gate.scale[14:]).any()


def test_edges_of_some_persons_are_left_out():
    edges = Edges(torch.arange(6.0)[:, None], torch.ones(6), torch.tensor([1, 1, 2, 3, 3, 3]))
    left = edges.without(torch.tensor([1, 3]))
    assert left.features.tolist() == [[2.0]] and left.persons.tolist() == [2]


def test_queries_of_one_camera_and_a_gallery_of_the_others():
    held = np.array([True, True, True, True, False])
    split = Split(
        ~held, held & [True, False, False, False, False], held & [False, True, True, True, True]
    )
    camids = np.array([0, 1, 0, 1, 0])
    found = across_cameras(split, camids, random=np.random.default_rng(0))
    asked = set(camids[found.query])
    assert len(asked) == 1 and not asked & set(camids[found.gallery])
    assert np.array_equal(found.query | found.gallery, held)
    same = np.zeros(5, int)
    assert across_cameras(split, same, random=np.random.default_rng(0)) is split


def test_persons_are_left_with_fewer_images():
    rows = people(4, 5, noise=1.0).select(torch.arange(3, 20))  # of the first person two
    random = np.random.default_rng(0)
    some = thin(rows, 3, random=random)
    assert some.labels.bincount().tolist() == [2, 3, 3, 3]
    assert all((rows.rows == row).all(dim=1).any() for row in some.rows)
    assert len(thin(rows, 9, random=random).rows) == 17
    assert len(thin(some, 1, random=random).labels) == 4


def test_it_knows_galleries_of_one_image_a_person(task):
    train = people(60, 8, noise=1.3)
    gate, _ = train_edge_gate(train, ClosedFormSettings(), cameras=False, seed=0, task=task)
    assert gate is not None
    many, single = people(30, 8, noise=1.3, seed=5), people(30, 1, noise=1.3, seed=6)
    read = [
        gate.weights(item_features(Gated.of(s.rows, s.camids)), query=False) for s in (many, single)
    ]
    assert read[0].sum(dim=1).mean() > 3 * read[1].sum(dim=1).mean()


def test_it_pays_where_neighbours_of_one_person_abound_and_is_not_made_of_a_few(task):
    train = people(40, 12, noise=1.6)
    gate, facts = train_edge_gate(train, ClosedFormSettings(), cameras=True, seed=0, task=task)
    assert gate is not None and facts["gate_gain"] > 0.05 > facts["gate_gain_error"]
    assert gate.uses_cameras and task.done == PARTS
    few = people(12, 2, noise=1.0)
    assert train_edge_gate(few, ClosedFormSettings(), cameras=True, seed=0, task=task) == (
        None,
        {"gate_edges": 0},
    )
    assert task.done == 2 * PARTS


def test_it_is_dropped_where_others_lose_by_it(task, monkeypatch):
    train = people(120, 5, noise=0.8)
    real = edge_gate.fit_gate

    def misled(edges, **settings):
        return real(Edges(edges.features, 1 - edges.same, edges.persons), **settings)

    monkeypatch.setattr(edge_gate, "fit_gate", misled)
    gate, facts = train_edge_gate(train, ClosedFormSettings(), cameras=False, seed=0, task=task)
    assert gate is None and facts["gate_gain"] < 0
    assert task.done == PARTS
