"""Figures, lists and refusals of `score`, each written out in full."""

import numpy as np
import pytest
import torch

from pipelines import BadInput, Embeddings, score
from pipelines.ranking.figures import Ranks
from pipelines.ranking.metrics import summarise
from pipelines.ranking.rules import MARKET1501


def items(pids, camids, features=None):
    return Embeddings(np.ones((len(pids), 1)) if features is None else features, pids, camids)


# Query 0: person 7 of camera 1. Query 1: person 8 of camera 2. Query 2: nobody's.
QUERY = items([7, 8, 9], [1, 2, 1])
GALLERY = items([7, -1, 8, 7, 7, 8], [1, 1, 1, 2, 3, 2])  # row 1 is junk
DISTANCES = np.array(
    [
        [0.0, 0.1, 0.2, 0.3, 0.5, 0.4],  # row 0 is skipped: 2, 3, 5, 4: ranks 2 and 4
        [0.1, 0.0, 0.5, 0.3, 0.4, 0.2],  # row 5 is skipped: 0, 3, 4, 2: rank 4
        [0.1, 0.0, 0.5, 0.3, 0.4, 0.2],  # no match: not valid
    ]
)


def require_the_figures(found):
    assert (found.queries, found.valid_queries, found.gallery) == (3, 2, 5)
    assert found.first_match.tolist() == [2, 4, 0]
    assert found.average_precision[:2].tolist() == [(1 / 2 + 2 / 4) / 2, 1 / 4]
    assert found.inverse_negative_penalty[:2].tolist() == [2 / 4, 1 / 4]
    assert np.isnan(found.average_precision[2]) and np.isnan(found.inverse_negative_penalty[2])
    assert found.mean_ap == 3 / 8 and found.mean_inp == 3 / 8


@pytest.mark.parametrize("kind", ["float64", "float32", "tensor", "rows"])
@pytest.mark.parametrize("block", [None, 1])
def test_every_figure(monkeypatch, kind, block):
    class Rows:
        shape = DISTANCES.shape

        def rows(self, block):
            return DISTANCES[block].astype(np.float32)

    if block:  # a query at a time
        monkeypatch.setattr("pipelines.neighbours.exact.block_rows", lambda columns: block)
    given = {
        "float64": DISTANCES,
        "float32": DISTANCES.astype(np.float32),
        "tensor": torch.from_numpy(DISTANCES),
        "rows": Rows(),
    }[kind]
    found = score(QUERY, GALLERY, distances=given, top=4)
    require_the_figures(found)
    assert found.cmc.tolist() == [0, 0.5, 0.5, 1, 1]
    assert [found.rank(r) for r in (1, 2, 4, 5, 6, 99)] == [0, 0.5, 1, 1, 1, 1]
    lists = found.ranking
    assert lists.index.tolist() == [[2, 3, 5, 4], [0, 3, 4, 2], [0, 5, 3, 4]]
    F, T = False, True
    assert lists.match.tolist() == [[F, T, F, T], [F, F, F, T], [F, F, F, F]]
    expected = [[-0.2, -0.3, -0.4, -0.5], [-0.1, -0.3, -0.4, -0.5], [-0.1, -0.2, -0.3, -0.4]]
    assert lists.nearness == pytest.approx(np.array(expected))
    assert (lists.index.dtype, lists.nearness.dtype) == (np.int64, np.float32)
    assert found.tpr_at_fpr == {}


def test_lists_and_rates_are_made_only_where_asked_for():
    found = score(QUERY, GALLERY, distances=DISTANCES)
    assert found.ranking is None and found.tpr_at_fpr == {}
    assert score(QUERY, GALLERY, distances=DISTANCES, top=0).ranking is None
    one = score(QUERY, GALLERY, distances=DISTANCES, top=1).ranking
    assert one.index.tolist() == [[2], [0], [0]]
    # The true pairs are at 0.3, 0.5 and 0.5; the nearest false one is at 0.1.
    both = score(QUERY, GALLERY, distances=DISTANCES, open_set=True)
    assert both.tpr_at_fpr == {0.001: 0, 0.01: 0}


@pytest.mark.parametrize(
    "max_rank, curve", [(1, [0]), (3, [0, 0.5, 0.5]), (99, [0, 0.5, 0.5, 1, 1])]
)
def test_the_curve_is_as_long_as_asked_or_as_the_gallery(max_rank, curve):
    found = score(QUERY, GALLERY, distances=DISTANCES, max_rank=max_rank)
    assert found.cmc.tolist() == curve
    assert found.rank(max_rank + 1) == curve[-1]
    require_the_figures(found)


def test_by_default_the_curve_has_fifty_ranks():
    gallery = items([7] + [8] * 60, [2] * 61)
    assert len(score(items([7], [1]), gallery, distances=np.zeros((1, 61))).cmc) == 50


@pytest.mark.parametrize("block", [None, 1])
def test_cosines_of_rows_of_any_length(monkeypatch, block):
    if block:
        monkeypatch.setattr("pipelines.neighbours.exact.block_rows", lambda columns: block)
    query = items([7, 8], [1, 1], [[2.0, 0.0], [0.0, 5.0]])
    rows = [[0.0, 3.0], [9.0, 0.0], [3.0, 4.0], [4.0, 3.0]]
    for pids, lists, cosines in (
        ([7, -1, 7, 8], [[3, 2, 0], [0, 2, 3]], [[0.8, 0.6, 0.0], [1.0, 0.8, 0.6]]),
        ([7, 8, 7, 8], [[1, 3, 2], [0, 2, 3]], [[1.0, 0.8, 0.6], [1.0, 0.8, 0.6]]),
    ):
        found = score(query, items(pids, [2] * 4, rows), top=3)
        assert found.ranking.index.tolist() == lists
        assert found.ranking.nearness == pytest.approx(np.array(cosines), abs=1e-6)
        assert found.first_match.tolist() == [2 + (pids[1] == 8), 3]


@pytest.mark.parametrize("block", [16, 1])
def test_progress_counts_the_queries(recorder, monkeypatch, block):
    monkeypatch.setattr("pipelines.neighbours.exact.block_rows", lambda columns: block)
    score(QUERY, GALLERY, distances=DISTANCES, progress=recorder)
    assert recorder.counted == {"score": 3}


def test_figures_of_ranks_alone():
    ranks = [np.array([1, 4]), np.array([], int)]
    whole = Ranks(ranks, [one[:1] for one in ranks], np.array([7, 8]), longest=0)
    found = summarise(whole, rules=MARKET1501, gallery=0, max_rank=5)
    assert found.cmc.tolist() == [1.0]
    assert found.tpr_at_fpr == {} and found.ranking is None
    assert found.average_precision[0] == (1 + 2 / 4) / 2


@pytest.mark.parametrize(
    "query, gallery, settings, text",
    [
        (QUERY, GALLERY, {"max_rank": 0}, "max_rank is 0 and top 0; at least 1 and 0 are wanted"),
        (QUERY, GALLERY, {"top": -1}, "max_rank is 50 and top -1; at least 1 and 0 are wanted"),
        (items([], []), GALLERY, {}, "there are no queries to score"),
        (
            QUERY,
            items([-1, -2], [0, 0]),
            {},
            "the gallery is empty: of its 2 items none has an identity of 0 or "
            "above; scores need the pids of the query and the gallery",
        ),
        (
            items([7], [1], [[1, 2]]),
            GALLERY,
            {},
            "the query's embeddings are 2 wide, the gallery's 1; one network makes one width",
        ),
        (
            QUERY,
            GALLERY,
            {"distances": DISTANCES.T},
            "distances of shape (6, 3) for 3 queries and 6 gallery items; [3, 6] is wanted",
        ),
        (
            QUERY,
            GALLERY,
            {"distances": np.where(DISTANCES == 0.5, np.nan, DISTANCES)},
            "the distances hold NaN; every pair needs a number",
        ),
    ],
)
def test_refusals_in_full(query, gallery, settings, text):
    with pytest.raises(BadInput) as error:
        score(query, gallery, **settings)
    assert str(error.value) == text


def test_identity_0_counts():
    found = score(items([0], [0]), items([0, 0], [0, 1]), distances=np.zeros((1, 2)))
    assert (found.mean_ap, found.gallery) == (1, 2)
