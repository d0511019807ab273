"""Thresholds chosen on known identities and by separation, on groups whose gaps are known."""

import numpy as np
import pytest

from pipelines.clustering.constraints import Constraints
from pipelines.clustering.methods import hierarchy
from pipelines.clustering.threshold import Chosen, Trial, by_identities, by_separation
from pipelines.errors import BadInput
from pipelines.neighbours.graph import neighbour_graph


def groups(*degrees):
    """Return three rows each at angles, a degree apart, and the clusters of all thresholds."""
    angles = np.radians([angle + step for angle in degrees for step in (-1, 0, 1)])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    graph = neighbour_graph(rows, len(rows), device="cpu")
    nothing = Constraints(len(rows))
    return rows, graph, hierarchy("agglomerative", rows, graph=graph, constraints=nothing)


def test_the_middle_of_what_is_as_good_is_taken():
    _, _, found = groups(0, 20, 60)
    pids = np.repeat([7, 8, 9], 3)
    chosen = by_identities([Trial(found, pids)])
    assert (chosen.by, chosen.score, chosen.bcubed, chosen.pairwise) == (
        "held-out identities", 1, 1, 1
    )  # fmt: skip
    assert found.cut(chosen.threshold).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_strangers_in_between_make_it_stricter():
    _, _, found = groups(0, 3.5, 60)
    pids = np.repeat([7, 7, 9], 3)
    assert found.cut(by_identities([Trial(found, pids)]).threshold).max() == 1
    pids = np.repeat([7, -1, 9], 3)
    assert found.cut(by_identities([Trial(found, pids)]).threshold).max() >= 2


def test_separation_stops_at_the_first_peak():
    # Pairs of groups 20 degrees apart, the pairs 60: those are separated too, but come second.
    rows, graph, found = groups(0, 20, 80, 100)
    chosen = by_separation(found, rows, graph=graph)
    assert chosen.by == "separation" and chosen.score > 0.9
    assert found.cut(chosen.threshold).tolist() == np.repeat(range(4), 3).tolist()


def test_what_refinement_lowers_is_seen():
    plain = Chosen(0.5, "held-out identities", 0.5, 0.6, 0.4)
    assert Chosen(0.5, "held-out identities", 0.6, 0.59, 0.61).worse_than(plain)
    assert not Chosen(0.5, "held-out identities", 0.6, 0.6, 0.6).worse_than(plain)
    assert not Chosen(0.5, "separation", 0.1).worse_than(plain)
    assert str(plain).endswith("F on held-out training identities, 50.0")  # in per cent


def test_no_identities_give_no_threshold():
    with pytest.raises(BadInput, match="no held-out identities"):
        by_identities([])
