"""Average and single linkage over neighbour pairs give what dense linkage gives."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from pipelines.clustering.agreement import agreement
from pipelines.clustering.constraints import Constraints
from pipelines.clustering.linkage import average_linkage, single_linkage
from pipelines.clustering.pairs import Pairs, pairs_of
from pipelines.neighbours.checked import unit_rows
from pipelines.neighbours.graph import neighbour_graph


def drawn(rows: int, width: int = 5, seed: int = 0) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).normal(size=(rows, width)), "rows")


def all_pairs(rows: np.ndarray) -> Pairs:
    return pairs_of(neighbour_graph(rows, len(rows), device="cpu"), mutual=False)


def on_a_circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


@pytest.mark.parametrize("how", ["average", "single"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_every_pair_listed_it_is_scipys_linkage(how, seed):
    rows = drawn(60, seed=seed)
    nothing = Constraints(60)
    pairs = all_pairs(rows)
    found = (
        average_linkage(rows, pairs, constraints=nothing)
        if how == "average"
        else single_linkage(pairs, constraints=nothing)
    )
    dense = linkage(1 - np.clip((rows @ rows.T)[np.triu_indices(60, 1)], -1, 1), how)
    np.testing.assert_allclose(np.sort(1 - found.similarity), dense[:, 2], atol=1e-5)
    for threshold in (0.9, 0.7, 0.5, 0.3):
        theirs = fcluster(dense, 1 - threshold, "distance")
        assert agreement(found.cut(threshold), theirs).ari == 1


def test_merges_by_hand():
    # Angles 0, 10, 30: cos 10 = 0.985 merges first; then the mean of cos 30 and cos 20 = 0.903.
    rows = on_a_circle(0, 10, 30)
    found = average_linkage(rows, all_pairs(rows), constraints=Constraints(3))
    np.testing.assert_allclose(found.similarity, [0.98481, 0.90286], atol=1e-4)
    assert found.cut(0.95).tolist() == [0, 0, 1]
    assert found.cut(0.90).tolist() == [0, 0, 0]
    assert found.cut(0.99).tolist() == [0, 1, 2]
    chained = single_linkage(all_pairs(rows), constraints=Constraints(3))
    np.testing.assert_allclose(np.sort(chained.similarity), [0.93969, 0.98481], atol=1e-4)


def test_equal_similarities_merge_one_after_the_other():
    rows = np.ones((7, 2), np.float32) / np.sqrt(2)
    found = average_linkage(rows, all_pairs(rows), constraints=Constraints(7))
    assert len(found.similarity) == 6 and found.cut(0.99).tolist() == [0] * 7


def test_nothing_merges_below_the_least_similarity():
    rows = on_a_circle(0, 10, 90)
    found = average_linkage(rows, all_pairs(rows), constraints=Constraints(3), least=0.5)
    assert found.cut(-1).tolist() == [0, 0, 1]


@pytest.mark.parametrize("how", ["average", "single"])
def test_what_cannot_be_linked_stays_apart_however_it_could_be_reached(how):
    rows = on_a_circle(0, 5, 11, 18)  # each nearest to the one before it
    apart = Constraints(4, apart=np.array([0, 1]), group=np.array([0, 0]))
    pairs = all_pairs(rows)
    found = (
        average_linkage(rows, pairs, constraints=apart)
        if how == "average"
        else single_linkage(pairs, constraints=apart)
    )
    assert found.cut(-1).tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("how", ["average", "single"])
def test_what_must_be_linked_is_one_at_any_threshold(how):
    rows = on_a_circle(0, 90, 180, 95)
    together = Constraints(4, first=np.array([2, 0]), second=np.array([0, 3]))
    pairs = all_pairs(rows)
    found = (
        average_linkage(rows, pairs, constraints=together)
        if how == "average"
        else single_linkage(pairs, constraints=together)
    )
    assert found.cut(1.0).tolist() == [0, 1, 0, 0]


def test_constrained_average_linkage_is_the_greedy_one():
    rows = drawn(30, seed=3)
    random = np.random.default_rng(0)
    group = random.integers(0, 8, 30)
    constraints = Constraints(30, apart=np.arange(30), group=group)
    found = average_linkage(rows, all_pairs(rows), constraints=constraints).cut(0.2)
    clusters = {row: [row] for row in range(30)}
    while True:  # the most similar pair of clusters that share no group, one after the other
        best, pair = 0.2, None
        for one in clusters:
            for other in clusters:
                if one < other and not set(group[clusters[one]]) & set(group[clusters[other]]):
                    mean = (rows[clusters[one]] @ rows[clusters[other]].T).mean()
                    if mean >= best:
                        best, pair = mean, (one, other)
        if pair is None:
            break
        clusters[pair[0]] += clusters.pop(pair[1])
    expected = np.empty(30, int)
    for number, members in clusters.items():
        expected[members] = number
    assert agreement(found, expected).ari == 1
