"""k-reciprocal re-ranking against fast-reid's values and a case done by hand."""

import numpy as np
import pytest

from pipelines import BadInput, Embeddings, rerank_k_reciprocal


def test_equals_the_float32_reference(shared):
    golden = np.load(shared("golden/re_ranking.npz"))
    distances = rerank_k_reciprocal(golden["qf"], golden["gf"], k1=20, k2=6, weight=0.3)
    assert distances.dtype == np.float32
    assert np.abs(distances - golden["fastreid_20_6_0.3"]).max() < 1e-5


@pytest.mark.parametrize("k1, k2, weight", [(20, 6, 0.3), (10, 1, 0.5), (25, 3, 0.1)])
def test_near_the_half_precision_reference(shared, k1, k2, weight):
    golden = np.load(shared("golden/re_ranking.npz"))
    distances = rerank_k_reciprocal(golden["qf"], golden["gf"], k1=k1, k2=k2, weight=weight)
    assert np.abs(distances - golden[f"dist_{k1}_{k2}_{weight}"]).max() < 3e-2


def test_two_pairs_by_hand():
    # Two tight pairs, opposite each other; k1 = 1: each item's only reciprocal neighbour is its
    # twin, both weights are exp(0) / 2, so twins share everything and strangers nothing.
    east, west = [1.0, 0.0], [-1.0, 0.0]
    distances = rerank_k_reciprocal([east, west], [west, east], k1=1, k2=1, weight=0.25)
    assert distances == pytest.approx(np.array([[1, 0], [0, 1]]), abs=1e-6)


def test_weight_one_is_the_original_distance_over_the_rows_largest():
    generator = np.random.default_rng(0)
    query, gallery = generator.normal(size=(5, 4)), generator.normal(size=(30, 4))
    distances = rerank_k_reciprocal(query, gallery, k1=5, k2=2, weight=1.0)
    every = np.concatenate([query, gallery])
    every /= np.linalg.norm(every, axis=1, keepdims=True)
    squared = 2 - 2 * every @ every.T
    assert distances == pytest.approx((squared / squared.max(1, keepdims=True))[:5, 5:], abs=1e-5)


def test_takes_embeddings_and_sets_smaller_than_k():
    one = Embeddings(np.eye(2), [1, 2], [1, 1])
    assert rerank_k_reciprocal(one, one.select(np.array([0]))).shape == (2, 1)


@pytest.mark.parametrize(
    "settings, text", [({"k1": 0}, "k1 is 0"), ({"k2": 0}, "k2 0"), ({"weight": 2}, "is 2")]
)
def test_bad_settings(settings, text):
    with pytest.raises(BadInput, match=text):
        rerank_k_reciprocal(np.eye(3), np.eye(3), **settings)


def test_an_empty_side():
    with pytest.raises(BadInput, match="0 queries over 3"):
        rerank_k_reciprocal(np.ones((0, 3)), np.eye(3))
