import pytest
import torch
from torch.nn import functional

from pipelines.errors import BadInput
from pipelines.nformer.landmarks import (
    choose_landmarks,
    draw_landmarks,
    given_landmarks,
    landmark_draws,
)

# Three bundles of directions, ten rows each.
BUNDLES = functional.normalize(
    torch.eye(3).repeat_interleave(10, dim=0)
    + 0.05 * torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
)


def bundles_of(landmarks):
    return [sorted(set((rows // 10).tolist())) for rows in landmarks]


def test_random_rows_are_different_and_of_each_layer_its_own():
    chosen = choose_landmarks(BUNDLES, layers=4, count=5, seed=1)
    assert chosen.shape == (4, 5)
    assert all(len(set(rows.tolist())) == 5 for rows in chosen)
    assert len({tuple(rows.tolist()) for rows in chosen}) == 4
    assert torch.equal(chosen, choose_landmarks(BUNDLES, layers=4, count=5, seed=1))
    assert not torch.equal(chosen, choose_landmarks(BUNDLES, layers=4, count=5, seed=2))


def test_the_farthest_rows_lie_in_different_bundles():
    chosen = choose_landmarks(BUNDLES, layers=3, count=3, choice="farthest")
    assert bundles_of(chosen) == [[0, 1, 2]] * 3


def test_cluster_rows_are_real_different_rows():
    chosen = choose_landmarks(BUNDLES, layers=6, count=3, choice="kmeans")
    assert all(len(set(rows.tolist())) == 3 for rows in chosen)
    assert [0, 1, 2] in bundles_of(chosen)


@pytest.mark.parametrize("choice", ["random", "kmeans", "farthest"])
def test_no_more_landmarks_than_rows(choice):
    chosen = choose_landmarks(BUNDLES[:2], layers=2, count=5, choice=choice)
    assert sorted(chosen[0].tolist()) == [0, 1]


def test_equal_rows_have_landmarks_too():
    for choice in ("kmeans", "farthest"):
        chosen = choose_landmarks(torch.ones(9, 2) / 2**0.5, layers=1, count=4, choice=choice)
        assert len(set(chosen[0].tolist())) == 4


def test_a_draw_comes_from_its_generator():
    first = draw_landmarks(9, layers=2, count=3, generator=torch.Generator().manual_seed(4))
    again = draw_landmarks(9, layers=2, count=3, generator=torch.Generator().manual_seed(4))
    assert torch.equal(first, again)
    assert list(landmark_draws(7, 3)) == [7, 8, 9]


def test_given_rows_are_checked():
    assert given_landmarks([[0, 2]], layers=1, rows=3).tolist() == [[0, 2]]
    for wrong in ([[0, 3]], [[-1, 0]], [[0.5, 1.0]]):
        with pytest.raises(BadInput, match="row numbers of the set, from 0 to 2"):
            given_landmarks(wrong, layers=1, rows=3)
    with pytest.raises(BadInput, match=r"must be \[2 layers, l\]; these are \[1, 2\]"):
        given_landmarks([[0, 1]], layers=2, rows=3)
    with pytest.raises(BadInput, match="known are random, kmeans, farthest"):
        choose_landmarks(BUNDLES, layers=1, count=1, choice="best")
