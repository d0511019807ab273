"""How rows stand in their clusters, by hand."""

import numpy as np
import pytest

from pipelines.clustering.members import cluster_sums, representatives, separation, standing
from pipelines.neighbours.checked import unit_rows
from pipelines.neighbours.graph import neighbour_graph

ANGLES = np.radians([0, 10, 90, 100, 180])
ROWS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)
LABELS = np.array([0, 0, 1, 1, 2])


def test_distances_are_means_over_pairs():
    found = standing(ROWS, LABELS, graph=neighbour_graph(ROWS, 5, device="cpu"))
    near = 1 - np.cos(np.radians(10))
    np.testing.assert_allclose(found.own, [near] * 4 + [np.nan], atol=1e-6)
    assert found.nearest.tolist() == [1, 1, 0, 2, 1]
    to_last = 1 - np.cos(np.radians([80, 90])).mean()  # of the lone row, to 100 and 90 degrees
    assert found.distance[4] == pytest.approx(to_last, abs=1e-6)
    sure = found.confidence(alone=0.5)
    assert sure[0] == pytest.approx(1 - near / (1 - np.cos(np.radians([90, 100])).mean()), abs=1e-5)
    assert sure[4] == pytest.approx((to_last - 0.5) / to_last, abs=1e-5)


def test_a_row_nearer_to_another_cluster_is_doubted():
    found = standing(ROWS, np.array([0, 1, 1, 1, 1]), graph=neighbour_graph(ROWS, 5, device="cpu"))
    assert found.confidence(alone=0.1)[1] < 0 < found.confidence(alone=0.1)[3]


def test_short_lists_and_all_clusters_give_the_same_nearest():
    rows = unit_rows(np.random.default_rng(0).normal(size=(80, 4)), "rows")
    labels = np.arange(80) % 7
    long = standing(rows, labels, graph=neighbour_graph(rows, 80, device="cpu"))
    own = standing(rows, labels, graph=neighbour_graph(rows, 1, device="cpu"))
    assert own.nearest.tolist() == long.nearest.tolist()
    np.testing.assert_allclose(own.distance, long.distance, atol=1e-5)


def test_one_cluster_has_no_other():
    found = standing(ROWS, np.zeros(5, int), graph=neighbour_graph(ROWS, 5, device="cpu"))
    assert found.nearest.tolist() == [-1] * 5 and np.isnan(found.distance).all()
    assert (found.confidence(alone=0.5) > 0).all()


def test_medoids_and_sums():
    rows = ROWS[[0, 1, 1, 2]]
    sums, sizes = cluster_sums(rows, np.array([0, 0, 0, 1]))
    np.testing.assert_allclose(sums[0], rows[:3].sum(0), atol=1e-6)
    assert sizes.tolist() == [3, 1]
    assert representatives(rows, np.array([0, 0, 0, 1])).tolist() == [1, 3]


def test_separation_is_highest_for_the_groups_that_there_are():
    graph = neighbour_graph(ROWS[:4], 4, device="cpu")
    right = separation(ROWS[:4], np.array([0, 0, 1, 1]), graph=graph)
    wrong = separation(ROWS[:4], np.array([0, 1, 0, 1]), graph=graph)
    assert right > 0.9 > 0 > wrong
    assert separation(ROWS[:4], np.arange(4), graph=graph) == 0
