"""Figures of clusters against labels, by hand and by brute force over pairs and rows."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from pipelines.clustering.agreement import agreement
from pipelines.clustering.threshold import figures


def test_by_hand():
    # People a a a b b; clusters {a a} {a b b}.
    found = agreement(np.array([0, 0, 1, 1, 1]), np.array([7, 7, 7, 9, 9]))
    # Precision: 1, 1, 1/3, 2/3, 2/3; recall: 2/3, 2/3, 1/3, 1, 1.
    assert found.precision == pytest.approx(11 / 15) and found.recall == pytest.approx(11 / 15)
    assert found.bcubed == pytest.approx(11 / 15)
    # Pairs together: 1 + 3 = 4, of one person: 3 + 1 = 4, both: 1 + 1 = 2.
    assert found.pairwise == pytest.approx(2 * 2 / (4 + 4))
    # Expected 4 * 4 / 10 = 1.6: (2 - 1.6) / (4 - 1.6).
    assert found.ari == pytest.approx(1 / 6)
    assert (found.rows, found.identities, found.clusters) == (5, 2, 2)


@pytest.mark.parametrize("seed", range(5))
def test_brute_force_with_junk(seed):
    random = np.random.default_rng(seed)
    labels, pids = random.integers(0, 6, 40), random.integers(-1, 5, 40)
    found, known = agreement(labels, pids), pids >= 0
    ours, true = labels[known], pids[known]
    assert found.ari == pytest.approx(adjusted_rand_score(true, ours))
    assert found.nmi == pytest.approx(normalized_mutual_info_score(true, ours))
    pairs = list(itertools.combinations(range(len(ours)), 2))
    together = {pair for pair in pairs if ours[pair[0]] == ours[pair[1]]}
    same = {pair for pair in pairs if true[pair[0]] == true[pair[1]]}
    right = len(together & same)
    precision, recall = right / len(together), right / len(same)
    assert found.pairwise == pytest.approx(2 * precision * recall / (precision + recall))
    by_row = [
        (
            np.mean(true[ours == ours[row]] == true[row]),
            np.mean(ours[true == true[row]] == ours[row]),
        )
        for row in range(len(ours))
    ]
    precision, recall = np.mean(by_row, axis=0)
    assert found.bcubed == pytest.approx(2 * precision * recall / (precision + recall))


def test_ends():
    people = np.array([0, 0, 1, 2])
    assert agreement(people, people).ari == agreement(people, people).bcubed == 1
    assert agreement(np.arange(3), np.arange(3)).pairwise == 1  # no pair, and none is right
    assert agreement(np.arange(3), np.full(3, -1)) is None
    assert agreement(np.zeros(4, int), people).ari == 0


def test_strangers_in_a_cluster_count_against_it():
    # Clusters {a a x} {b} {b x x}: precision 2/3 2/3 1 1/3, recall 1 1 1/2 1/2.
    labels, pids = np.array([0, 0, 0, 1, 2, 2, 2]), np.array([5, 5, -1, 6, 6, -1, -1])
    precision, recall = np.mean([2 / 3, 2 / 3, 1, 1 / 3]), 0.75
    bcubed = 2 * precision * recall / (precision + recall)
    # Pairs with a known row: 3 and 2; right: 1; of one person: 2.
    assert figures(labels, pids) == pytest.approx((bcubed, 2 * 1 / (5 + 2)))
    known = pids >= 0
    alone = agreement(labels[known], pids[known])
    assert figures(labels[known], pids[known]) == pytest.approx((alone.bcubed, alone.pairwise))
