"""The benchmark of clusters: scikit-learn's dense methods, and the sentences under the table."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from pipelines.benchmarks.clusters import (
    COLUMNS,
    Dense,
    DenseHierarchy,
    DenseLinkage,
    figures,
    summary,
)
from pipelines.clustering.agreement import Agreement
from pipelines.embeddings import Embeddings
from pipelines.evaluation.cluster_sources import Source


def on_a_circle(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_dense_methods_by_hand():
    rows = on_a_circle(0, 5, 12, 90, 95)
    within = np.cos(np.radians(8))
    # DBSCAN chains 0, 5 and 12 by steps of 5 and 7; the mean of 12 and 7 is farther than 8.
    assert Dense(rows).cut(within).tolist() == [0, 0, 0, 1, 1]
    assert DenseLinkage(rows).cut(within).tolist() == [0, 0, 1, 2, 2]
    assert Dense(rows).cut(np.cos(np.radians(6))).tolist() == [0, 0, 1, 2, 2]
    assert DenseHierarchy(rows).cut(0.0).tolist()[3:] == [1, 1]
    levels = Dense(rows).levels(30)
    assert (np.diff(levels) < 0).all() and levels[0] == pytest.approx(np.cos(np.radians(5)))


def test_a_set_has_a_figure_of_each_way():
    random = np.random.default_rng(0)
    parts = []
    for first in (0, 100):
        pids = np.repeat(np.arange(12), 5)
        middle = random.normal(size=(12, 16))
        rows = middle[pids] + 0.3 * random.normal(size=(60, 16))
        names = [f"{first + row}" for row in range(60)]
        parts.append(Embeddings(rows, pids + first, np.arange(60) % 3, names))
    found = figures(Source(parts[1], None, {}, train=parts[0]))
    assert tuple(found) == COLUMNS[2:]
    assert found[COLUMNS[3]].ari > 0.9 and found[COLUMNS[-1]].ari > 0.9
    assert found[COLUMNS[-1]] == found[COLUMNS[-2]]  # nothing refines these


def test_the_summary_names_where_the_default_falls_below():
    def one(ari, bcubed):
        return Agreement(ari, 0.0, bcubed, 0.0, 0.0, 0.0, 9, 3, 3)

    said = "".join(
        summary(
            ["a", "b"],
            plain=[one(0.5, 0.5), one(0.4, 0.6)],
            refined=[one(0.7, 0.6), one(0.3, 0.7)],
            others=[[one(0.6, 0.2), one(0.71, 0.3)], [one(0.1, 0.7), one(0.3, 0.1)]],
        )
    )
    assert "ARI, ours less ours on plain embeddings: +5.0 on the average; below on b -10.0" in said
    assert "below the best of the other methods on a -1.0. BCubed" in said
    assert "BCubed F, ours less ours on plain embeddings: +10.0 on the average; below on" in said
    assert said.strip().endswith("below the best of the other methods on none.")
