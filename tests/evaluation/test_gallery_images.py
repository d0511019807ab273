"""How many images of each person a gallery has: within a factor of two, or untold."""

import numpy as np
import pytest

from pipelines import Embeddings
from pipelines.evaluation import gallery_images
from pipelines.evaluation.gallery_images import estimated_images


def noisy(first, count, each, seed):
    """People in 16 directions, beside 16 in which all images vary three times as much."""
    random = np.random.default_rng(seed)
    pids = np.repeat(np.arange(first, first + count), each)
    centres = np.random.default_rng(first).normal(size=(count, 16)).repeat(each, axis=0)
    own = centres + 0.2 * random.normal(size=centres.shape)
    noise = 3 * random.normal(size=(len(pids), 16))
    return Embeddings(np.hstack([own, noise]), pids, np.arange(len(pids)) % 4)


TRAIN = noisy(1, 160, 8, 1)


@pytest.mark.parametrize("each", [1, 4, 16])
def test_images_are_told_within_a_factor_of_two(each):
    found, why = estimated_images(TRAIN, noisy(200, 60, each, 2), seed=0, seen=False)
    assert each / 2 <= found <= 2 * each and why == ""


def test_halves_are_averaged_and_those_that_do_not_tell_are_left_out(monkeypatch):
    told = iter([2.0, None, 8.0, 4.0])
    monkeypatch.setattr(gallery_images, "images_per_person", lambda *_, **__: next(told))
    found, _ = estimated_images(TRAIN, TRAIN, seed=0, seen=False)
    assert found == pytest.approx(4)  # the cube root of 64
    monkeypatch.setattr(gallery_images, "images_per_person", lambda *_, **__: None)
    none, why = estimated_images(TRAIN, TRAIN, seed=0, seen=False)
    assert none is None and "spread otherwise" in why


def test_of_identities_that_the_network_knows_nothing_is_told():
    assert estimated_images(TRAIN, TRAIN, seed=0, seen=True)[1].startswith("the network was tr")
    exact = TRAIN.with_features(np.eye(160)[TRAIN.pids - 1])
    found, why = estimated_images(exact, exact, seed=0, seen=False)
    assert found is None and why.startswith("the network seems to have been trained")


def test_training_images_without_a_match_tell_nothing():
    found, why = estimated_images(noisy(1, 60, 1, 3), TRAIN, seed=0, seen=False)
    assert found is None and why == "no held-out training identity has a match"
