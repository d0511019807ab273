"""Neighbour lists against a full sort, in every shape that has tripped a search."""

import numpy as np
import pytest
import torch

from pipelines import BadInput, nearest_neighbours, search
from pipelines.neighbours import exact
from pipelines.neighbours.checked import unit_rows
from pipelines.neighbours.graph import least_similarity, neighbour_graph
from pipelines.neighbours.ivf import top_k_in_lists
from pipelines.neighbours.nearest import choose
from pipelines.neighbours.on_device import least_on_device
from pipelines.neighbours.self_join import self_join
from pipelines.neighbours.self_join_bf16 import HalfProducts, halved_top_k
from pipelines.progress import Silent


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


@pytest.mark.parametrize("method", ["numpy", "torch", "faiss"])
def test_every_exact_way_finds_the_same(method):
    generator = np.random.default_rng(3)
    query, gallery = generator.normal(size=(40, 16)), generator.normal(size=(5000, 16))
    expected = search(query, gallery, 10, method="numpy")
    similarity, index = search(query, gallery, 10, method=method)
    assert similarity == pytest.approx(expected[0], abs=1e-6)
    assert (index == expected[1]).mean() > 0.99
    assert nearest_neighbours(gallery, 3, method=method)[1][:, 0].tolist() == list(range(5000))


@pytest.mark.parametrize("method, floor", [("ivf", 0.9), ("hnsw", 0.9), ("ivfpq", 0.7)])
def test_approximate_ways_say_how_much_they_find(method, floor, recorder):
    centres = np.random.default_rng(4).normal(size=(60, 16))
    generator = np.random.default_rng(5)
    features = centres[np.arange(6000) % 60] + generator.normal(size=(6000, 16)) / 2
    similarity, index = nearest_neighbours(features, 10, method=method, progress=recorder)
    assert index.shape == (6000, 10) and (index >= 0).all()
    assert index[:, 0].tolist() == list(range(6000))
    assert (np.diff(similarity, axis=1) <= 1e-6).all()
    true = nearest_neighbours(features, 10)[1]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(true, index, strict=True)])
    told = float(recorder.messages[-1].split(": ")[-1].split()[0])
    assert method in recorder.messages[-1]
    assert recall > floor and abs(told - recall) < 0.03


def test_says_what_it_chose(recorder):
    search(np.eye(3), np.eye(3), 1, progress=recorder)
    assert recorder.messages == [
        f"3 × 3, k = 1: exact search, NumPy on cpu, {exact.threads()} threads"
    ]


def test_large_sets_are_approximated_by_themselves():
    assert choose("auto", rows=10**6, columns=10**6, where="cpu", k=20) == "ivf"
    assert choose("auto", rows=10**5, columns=10**5, where="cpu", k=20) == "numpy"
    assert choose("exact", rows=10**6, columns=10**6, where="cpu", k=20) == "numpy"


def test_without_faiss_exact_search_goes_on_and_others_say_why(monkeypatch):
    monkeypatch.setattr("pipelines.neighbours.nearest._FAISS_FAULT", ["libcudart is missing"])
    assert choose("auto", rows=10**6, columns=10**6, where="cpu", k=20) == "numpy"
    with pytest.raises(BadInput, match="libcudart is missing"):
        search(np.eye(3), np.eye(3), 1, method="hnsw")


def test_unknown_and_impossible_methods():
    with pytest.raises(BadInput, match="known are auto, exact, numpy"):
        search(np.eye(3), np.eye(3), 1, method="annoy")
    with pytest.raises(BadInput, match="'cagra' needs a CUDA device"):
        search(np.eye(3), np.eye(3), 1, method="cagra")


def test_each_pair_once_equals_each_row_in_full():
    generator = np.random.default_rng(6)
    centres = generator.normal(size=(300, 8))
    features = centres[generator.integers(0, 300, 5000)] + generator.normal(size=(5000, 8)) / 3
    features[100:400] = features[100]  # more equal rows than a list has room for
    rows = unit_rows(features, "rows")
    found = self_join(rows, 12, least=True)
    similarity, index = exact.top_k(rows, rows, k=12)
    assert found.similarity == pytest.approx(similarity, abs=1e-6)
    assert (found.index == index).mean() > 0.999
    assert found.least == pytest.approx((rows @ rows.T).min(axis=1), abs=1e-6)


def test_a_long_gallery_is_searched_in_pieces(monkeypatch):
    generator = np.random.default_rng(7)
    query, gallery = generator.normal(size=(5, 6)), generator.normal(size=(1000, 6))
    whole = search(query, gallery, 30)
    monkeypatch.setattr(exact, "BLOCK_COLUMNS", 64)
    pieces = search(query, gallery, 30)
    assert (pieces[1] == whole[1]).all()


def test_lengths_beyond_float32s_squares():
    gallery = np.array([[1e-25, 0], [0, 1e25]], np.float32)
    assert search(gallery, gallery, 1)[1].tolist() == [[0], [1]]
    assert search(gallery, gallery, 1)[0] == pytest.approx(1)


def test_candidates_in_half_precision_end_in_the_same_lists():
    generator = np.random.default_rng(8)
    centres = generator.normal(size=(200, 32))
    features = centres[generator.integers(0, 200, 5000)] + generator.normal(size=(5000, 32))
    rows = unit_rows(features, "rows")
    similarity, index = exact.top_k(rows, rows, k=15)
    found = halved_top_k(rows, 15, progress=Silent())
    assert found[0] == pytest.approx(similarity, abs=1e-6)
    assert (found[1] == index).mean() > 0.999


def test_rounded_products_stay_within_their_slack():
    rows = unit_rows(np.random.default_rng(9).normal(size=(600, 64)), "rows")
    products = HalfProducts(rows)
    rounded = products.tile(slice(0, 600), slice(0, 600)).copy()
    slack = np.stack([products.slack(column) for column in rounded.T], axis=1)
    assert (rows @ rows.T <= rounded + slack).all()


def test_half_precision_gives_up_where_everything_is_alike():
    rows = unit_rows(1 + np.random.default_rng(10).normal(size=(4200, 16)) / 1000, "rows")
    assert halved_top_k(rows, 15, progress=Silent()) is None


def test_least_similarity_is_the_same_on_a_device():
    features = np.random.default_rng(11).normal(size=(90, 5)).astype(np.float32)
    expected = cosine(features, features).min(axis=1)
    assert least_similarity(features) == pytest.approx(expected, abs=1e-6)
    assert least_on_device(features, "cpu") == pytest.approx(expected, abs=1e-6)


def test_joint_graphs_by_other_searches_know_their_least_similarity():
    features = np.random.default_rng(12).normal(size=(90, 5)).astype(np.float32)
    plain = neighbour_graph(features, 4, least=True)
    for method in ("faiss", "torch"):
        other = neighbour_graph(features, 4, least=True, method=method)
        assert other.least == pytest.approx(plain.least, abs=1e-6)
        assert (other.index == plain.index).all() and other.searched.method == method


def test_a_query_looks_through_the_lists_of_a_gallery():
    generator = np.random.default_rng(6)
    centres = generator.normal(size=(40, 12))
    gallery = centres[np.arange(5000) % 40] + generator.normal(size=(5000, 12)) / 2
    query = gallery[:300] + generator.normal(size=(300, 12)) / 4
    _, true = search(query, gallery, 8, method="exact")
    similarity, index = search(query, gallery, 8, method="ivf")
    found = np.mean([len(set(a) & set(b)) / 8 for a, b in zip(true, index, strict=True)])
    assert found > 0.9
    rows, others = unit_rows(query, "query"), unit_rows(gallery, "gallery")
    assert similarity[:, 0] == pytest.approx((rows * others[index[:, 0]]).sum(axis=1), abs=1e-6)


def test_rows_that_find_too_few_are_searched_in_full():
    rows = unit_rows(np.random.default_rng(7).normal(size=(200, 4)).astype(np.float32), "rows")
    centres = rows[:100]  # lists of two rows, which cannot hold ten neighbours
    similarity, index, told = top_k_in_lists(rows, rows, k=10, centres=centres, progress=Silent())
    assert (index >= 0).all() and np.isfinite(similarity).all()
    assert all(len(set(found)) == 10 for found in index.tolist())
    assert "100 lists" in told
