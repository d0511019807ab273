import torch
from torch.nn import functional

from pipelines.training.embedding_batches import Batches, identity_batch, neighbourhood_batch

LABELS = torch.tensor([0, 1, 1, 2, 2, 2, 3, 3, 3, 3])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_an_identity_batch_has_at_most_k_of_each_and_no_row_twice():
    rows = identity_batch(LABELS, batch=100, instances=2, generator=generator())
    assert sorted(LABELS[rows].tolist()) == [0, 1, 1, 2, 2, 3, 3]
    assert len(set(rows.tolist())) == 7


def test_an_identity_batch_is_cut_at_its_size_with_identities_side_by_side():
    rows = identity_batch(LABELS, batch=4, instances=2, generator=generator(1))
    found = LABELS[rows].tolist()
    assert len(found) == 4
    assert found == sorted(found, key=found.index)


def test_identity_batches_reach_every_row():
    draw, seen = generator(), set()
    for _ in range(50):
        seen |= set(identity_batch(LABELS, batch=4, instances=2, generator=draw).tolist())
    assert seen == set(range(10))


def test_a_neighbourhood_is_a_row_and_its_nearest():
    angles = torch.tensor([0.0, 0.1, 0.2, 1.5, 1.6])
    features = torch.stack([angles.cos(), angles.sin()], dim=1)
    for seed in range(5):
        rows = neighbourhood_batch(features, batch=2, generator=generator(seed)).tolist()
        assert set(rows) in ({0, 1}, {1, 2}, {3, 4})
    everything = neighbourhood_batch(features, batch=9, generator=generator())
    assert sorted(everything.tolist()) == [0, 1, 2, 3, 4]


def test_a_step_has_the_same_batch_whenever_it_is_asked_for():
    features = torch.randn(10, 4, generator=generator())
    for sampler in ("identity", "neighbourhood"):
        batches = Batches(features, LABELS, sampler=sampler, batch=5, instances=2, seed=3)
        first, labels = batches.at(7)
        batches.at(8)
        again, _ = batches.at(7)
        assert torch.equal(first, again)
        assert len(labels) == 5
        assert torch.allclose(first, functional.normalize(first))
        assert not torch.equal(first, batches.at(8)[0])
