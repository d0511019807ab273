"""P × K batches: every batch has K images of each of P people."""

import numpy as np
import pytest

from pipelines.data.sampler import fitting_batch, identity_batches
from pipelines.errors import BadInput

LABELS = np.repeat(np.arange(7), [4, 4, 5, 8, 1, 12, 2])


def batches(seed=0):
    generator = np.random.default_rng(seed)
    return identity_batches(LABELS, batch=12, instances=4, generator=generator)


def test_each_batch_has_k_images_of_each_of_p_people():
    found = batches()
    assert len(found) >= 2
    for rows in found:
        people, counts = np.unique(LABELS[rows], return_counts=True)
        assert len(people) == 3 and (counts == 4).all()


def test_an_image_comes_once_an_epoch_unless_its_person_has_too_few():
    rows = np.concatenate(batches())
    enough = rows[~np.isin(LABELS[rows], [4, 6])]
    assert len(np.unique(enough)) == len(enough)


def test_people_with_fewer_images_come_with_repeats():
    rows = np.concatenate([np.concatenate(batches(seed)) for seed in range(20)])
    assert (LABELS[rows] == 4).sum() % 4 == 0 and (LABELS[rows] == 4).any()


def test_the_same_seed_draws_the_same_batches():
    assert all((a == b).all() for a, b in zip(batches(3), batches(3), strict=True))
    assert not all((a == b).all() for a, b in zip(batches(3), batches(4), strict=False))


def test_a_batch_is_cut_to_the_identities_there_are():
    assert fitting_batch(5, batch=128, instances=4, where="x") == 20
    assert fitting_batch(50, batch=128, instances=4, where="x") == 128
    assert fitting_batch(50, batch=10, instances=4, where="x") == 8  # a multiple of K


def test_a_single_identity_cannot_be_trained_on():
    with pytest.raises(BadInput, match="x has images of 1 identity; training needs two or more"):
        fitting_batch(1, batch=8, instances=4, where="x")


@pytest.mark.parametrize("batch, instances", [(4, 4), (7, 4), (2, 2)])
def test_a_batch_of_one_identity_is_refused(batch, instances):
    with pytest.raises(BadInput, match=f"use --batch {2 * instances} or more, or --set instances="):
        fitting_batch(50, batch=batch, instances=instances, where="x")


@pytest.mark.parametrize("evenly", [False, True])
def test_identities_with_few_images_last_as_long_as_the_others_where_they_begin_again(evenly):
    labels = np.repeat(np.arange(20), [8] * 10 + [160] * 10)  # 2 groups each, and 40
    generator = np.random.default_rng(0)
    found = identity_batches(labels, batch=24, instances=4, generator=generator, evenly=evenly)
    few = [np.isin(labels[rows], np.arange(10)).any() for rows in found[len(found) // 2 :]]
    assert any(few) == evenly
    times = np.bincount(np.concatenate([np.unique(labels[rows]) for rows in found]))
    if evenly:
        assert len(found) == 10 * (2 + 40) // 6
        assert 10 <= times.min() <= times.max() <= 32  # 21 on average
    else:
        assert times[:10].max() <= 2
