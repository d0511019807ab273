"""True matches, skipped items and ranks, written out; and why no query can be scored."""

import numpy as np
import pytest

from pipelines.embeddings import Embeddings
from pipelines.ranking.matches import SORT_FROM, Labels, Matches, count_before, no_valid_query


def pairs(query, gallery):
    """Pairs of (pid, camera) of two sides."""
    pids, camids = np.array(query).T
    theirs, cameras = np.array(gallery).T
    mine = Embeddings(np.ones((len(query), 1)), pids, camids)
    return Matches(mine, Labels(theirs, cameras))


def test_matches_and_skipped_items_by_hand():
    gallery = [(8, 1), (7, 1), (7, 2), (8, 3), (7, -1), (7, 1)]
    found = pairs([(7, 1), (7, -1), (8, 3), (9, 1)], gallery)
    expected = [([2, 4], [1, 5]), ([1, 2, 4, 5], []), ([0], [3]), ([], [])]
    for query, wanted in enumerate(expected):
        assert tuple(part.tolist() for part in found.of(query)) == wanted
    assert found.any_valid() is True
    assert pairs([(7, 1), (9, 1)], [(7, 1), (8, 2)]).any_valid() is False


def test_ranks_by_hand():
    # Order: 0.9 of row 1 is skipped; 0.8 rows 0, 3; 0.5 row 2 is skipped, 4, 5; 0.1 row 6.
    gallery = [(8, 2), (7, 1), (7, 1), (7, 2), (8, 2), (7, 2), (7, 2)]
    nearness = np.array([0.8, 0.9, 0.5, 0.8, 0.5, 0.5, 0.1])
    found = pairs([(9, 1), (7, 1)], gallery)
    assert found.ranks(1, nearness).tolist() == [2, 4, 5]
    assert found.ranks(0, nearness).tolist() == []
    assert found.ranks(0, nearness).dtype == np.int64
    block = np.stack([nearness, nearness[::-1]])
    of_both = found.ranks_of_rows(slice(0, 2), first=0, nearness=block)
    # Reversed: 0.1 row 0, 0.5 rows 1, 2, 4, 0.8 rows 3, 6, 0.9 row 5: the matches 3, 5 and 6.
    assert [ranks.tolist() for ranks in of_both] == [[], [1, 2, 3]]
    assert found.ranks_of_rows(slice(0, 1), first=1, nearness=block[:1])[0].tolist() == [2, 4, 5]


def before_each(nearness, items):
    """Count with two loops: what is nearer, or as near and earlier."""
    return [
        sum(other > nearness[i] or (other == nearness[i] and j < i) for j, other in
            enumerate(nearness.tolist()))
        for i in items
    ]  # fmt: skip


@pytest.mark.parametrize("levels", [2, 5, 100, 10_000])
@pytest.mark.parametrize("count", [1, 95, 96, 97, 300])
def test_what_stands_before_equals_two_loops(levels, count):
    """Both ways of counting, with many equal similarities, pairs of them, and none."""
    random = np.random.default_rng(levels)
    nearness = random.integers(0, levels, 300) / levels
    items = np.sort(random.permutation(300)[:count])
    assert count_before(nearness, items).tolist() == before_each(nearness, items)


def test_many_matches_are_counted_by_one_sort(monkeypatch):
    sorted_rows = []
    plain = np.sort
    monkeypatch.setattr(
        "pipelines.ranking.matches.np.sort", lambda row: sorted_rows.append(len(row)) or plain(row)
    )
    nearness = np.arange(200.0)
    assert SORT_FROM == 96
    for count, sorts in ((95, []), (96, [200])):
        assert count_before(nearness, np.arange(count)).tolist() == [199 - i for i in range(count)]
        assert sorted_rows == sorts


def test_why_no_query_can_be_scored():
    assert no_valid_query(pairs([(7, 1), (9, 1)], [(7, 1), (8, 2)])) == (
        "none of the 2 queries can be scored: every gallery item of their identities is of the "
        "query's own camera, which the protocol skips; check the camera ids, or set them all to "
        "-1 if cameras are not known"
    )
    assert no_valid_query(pairs([(5, 1)], [(7, 1), (8, 2)])) == (
        "none of the 1 queries can be scored: no identity of theirs is in the gallery; check that "
        "both were read with the same identity numbers"
    )
