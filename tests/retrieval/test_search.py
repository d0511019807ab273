"""Neighbour lists against a full sort, in every shape that has tripped a search."""

import numpy as np
import pytest
import torch

from pipelines import BadInput, nearest_neighbours, search


def cosine(query, gallery):
    def unit(rows):
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)

    return unit(query) @ unit(gallery).T


def test_the_nearest_first_with_their_cosine():
    gallery = np.array([[1, 0], [0, 2], [3, 3], [-1, 0]], np.float32)
    similarity, index = search(np.array([[5.0, 0.0]]), gallery, 3)
    assert index.tolist() == [[0, 2, 1]]
    assert similarity[0] == pytest.approx([1, np.sqrt(0.5), 0], abs=1e-6)
    assert (similarity.dtype, index.dtype) == (np.float32, np.int64)


@pytest.mark.parametrize("shape", [(7, 3000, 16, 5), (300, 1500, 8, 100), (3, 40, 4, 40)])
def test_equal_to_a_full_sort(shape):
    Q, G, d, k = shape
    generator = np.random.default_rng(0)
    query, gallery = generator.normal(size=(Q, d)), generator.normal(size=(G, d))
    expected = cosine(query, gallery)
    similarity, index = search(query, gallery, k)
    assert similarity == pytest.approx(-np.sort(-expected, axis=1)[:, :k], abs=1e-5)
    assert np.take_along_axis(expected, index, 1) == pytest.approx(similarity, abs=1e-5)


def test_equal_similarities_stand_in_the_gallerys_order():
    gallery = np.eye(4, dtype=np.float32)[[1, 0, 1, 0, 1, 0] * 300]
    _, index = search(np.eye(4, dtype=np.float32)[:1], gallery, 5)
    assert index.tolist() == [[1, 3, 5, 7, 9]]


def test_each_row_is_its_own_first_neighbour_among_duplicates():
    features = np.ones((50, 3), np.float32)
    similarity, index = nearest_neighbours(features, 4)
    assert index[:, 0].tolist() == list(range(50))
    assert similarity == pytest.approx(1, abs=1e-6)
    assert all(len(set(row)) == 4 for row in index.tolist())


def test_neighbours_of_a_set_equal_a_full_sort():
    features = np.random.default_rng(1).normal(size=(700, 12)).astype(np.float32)
    expected = np.argsort(-cosine(features, features), axis=1)[:, :9]
    similarity, index = nearest_neighbours(features, 9)
    assert (index == expected).mean() > 0.999  # near ties may swap in the last bit
    assert similarity[:, 0] == pytest.approx(1, abs=1e-6)


def test_k_larger_than_the_set_is_clipped():
    features = np.eye(3, dtype=np.float32)
    assert nearest_neighbours(features, 20)[1].shape == (3, 3)
    assert search(features[:2], features, 20)[1].shape == (2, 3)
    assert nearest_neighbours(features[:1], 5)[1].tolist() == [[0]]


def test_tensors_in_tensors_out():
    similarity, index = nearest_neighbours(torch.eye(4), 2)
    assert (similarity.dtype, index.dtype) == (torch.float32, torch.int64)
    assert index[:, 0].tolist() == [0, 1, 2, 3]


def test_a_row_of_zeros_is_near_nothing_but_itself():
    similarity, index = nearest_neighbours(np.array([[0.0, 0.0], [1.0, 0.0]]), 2)
    assert index.tolist() == [[0, 1], [1, 0]]
    assert similarity.tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize(
    "arguments, text",
    [
        ((np.ones((2, 3)), np.ones((2, 4)), 1), "3 wide, the gallery's 4"),
        ((np.ones((2, 3)), np.ones((0, 3)), 1), "the set to search is empty"),
        ((np.ones((2, 3)), np.ones((2, 3)), 0), "k is 0"),
        ((np.ones(3), np.ones((2, 3)), 1), r"must be \[N, d\]"),
        ((np.full((2, 3), np.nan), np.ones((2, 3)), 1), "rows 0, 1"),
    ],
)
def test_bad_input(arguments, text):
    with pytest.raises(BadInput, match=text):
        search(*arguments)
