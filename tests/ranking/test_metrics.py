"""The metrics against the reference's values, a plain transcription, and cases done by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import BadInput, Embeddings, score


def items(pids, camids, features=None):
    return Embeddings(np.ones((len(pids), 1)) if features is None else features, pids, camids)


def brute_force(distances, query, gallery, max_rank=50):
    """The protocol as its words say it, one query after another."""
    precision, penalty, first = [], [], []
    for row, pid, camera in zip(distances, query.pids, query.camids, strict=True):
        order = np.argsort(row, kind="stable")
        order = [j for j in order if gallery.pids[j] >= 0]
        order = [
            j
            for j in order
            if not (gallery.pids[j] == pid and gallery.camids[j] == camera and camera >= 0)
        ]
        hits = [rank for rank, j in enumerate(order, 1) if gallery.pids[j] == pid]
        if hits:
            precision.append(np.mean([n / rank for n, rank in enumerate(hits, 1)]))
            penalty.append(len(hits) / hits[-1])
            first.append(hits[0])
    length = max(1, min(max_rank, int((gallery.pids >= 0).sum())))
    cmc = [np.mean([rank <= r for rank in first]) for r in range(1, length + 1)] if first else []
    return precision, penalty, cmc


@pytest.mark.parametrize("case", [0, 1, 2])
@pytest.mark.parametrize("given_distances", [True, False])
def test_equals_the_reference(shared, case, given_distances):
    golden = np.load(shared("golden/eval_func.npz"))
    at = {key.partition("/")[2]: golden[key] for key in golden if key.startswith(f"{case}/")}
    gallery_pids = np.where(at["g_pid"] < 0, 10**6, at["g_pid"])  # there an ordinary negative
    found = score(
        items(at["q_pid"], at["q_cam"], at["qf"]),
        items(gallery_pids, at["g_cam"], at["gf"]),
        distances=at["dist"] if given_distances else None,
        max_rank=int(at["max_rank"]),
    )
    assert found.mean_ap == pytest.approx(float(at["mAP"]), abs=1e-6)
    assert found.cmc == pytest.approx(at["cmc"], abs=1e-6)
    assert (np.isfinite(found.average_precision) == at["valid"]).all()


def test_by_hand():
    # Order by distance: 0 junk, 1 own camera, 2 wrong, 3 right, 4 wrong, 5 right.
    gallery = items([-1, 7, 8, 7, 8, 7], [2, 1, 2, 2, 3, 3])
    found = score(items([7], [1]), gallery, distances=np.arange(6.0)[None])
    assert found.mean_ap == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert found.mean_inp == pytest.approx(2 / 4)
    assert found.cmc.tolist() == [0, 1, 1, 1, 1]
    assert found.first_match.tolist() == [2]
    assert (found.queries, found.valid_queries, found.gallery) == (1, 1, 5)


def test_ties_count_in_the_gallerys_order():
    gallery = items([8, 7, 8], [2, 2, 2])
    found = score(items([7], [1]), gallery, distances=np.zeros((1, 3)))
    assert found.first_match.tolist() == [2]


def test_many_matches_take_the_sorting_way_to_the_same_ranks():
    generator = np.random.default_rng(0)
    query = items(generator.integers(0, 2, 4), [0] * 4)
    gallery = items(generator.integers(0, 2, 600), generator.integers(0, 3, 600))
    distances = generator.integers(0, 50, (4, 600)).astype(float)
    precision, penalty, _ = brute_force(distances, query, gallery)
    found = score(query, gallery, distances=distances)
    assert found.average_precision == pytest.approx(precision)
    assert found.mean_inp == pytest.approx(np.mean(penalty))


labels = st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 3)), min_size=1, max_size=25)


@settings(max_examples=150, deadline=None)
@given(labels, labels, st.integers(0, 2**32 - 1))
def test_equals_brute_force(query_labels, gallery_labels, seed):
    query = items([max(pid, 0) for pid, _ in query_labels], [cam for _, cam in query_labels])
    gallery = items(*zip(*gallery_labels, strict=True))
    distances = np.random.default_rng(seed).integers(0, 5, (len(query), len(gallery))) / 4
    precision, penalty, cmc = brute_force(distances, query, gallery)
    if not precision:
        with pytest.raises(BadInput):
            score(query, gallery, distances=distances)
        return
    found = score(query, gallery, distances=distances)
    valid = np.isfinite(found.average_precision)
    assert found.valid_queries == valid.sum() == len(precision)
    assert found.average_precision[valid] == pytest.approx(precision)
    assert found.inverse_negative_penalty[valid] == pytest.approx(penalty)
    assert found.cmc == pytest.approx(cmc)


def test_cameras_unknown_means_that_none_is_skipped():
    found = score(items([7], [-1]), items([7], [-1]), distances=np.zeros((1, 1)))
    assert found.mean_ap == 1


@pytest.mark.parametrize(
    "query, gallery, distances, text",
    [
        (items([7], [1]), items([7, 8], [1, 2]), None, "of the query's own camera"),
        (items([9], [1]), items([7, 8], [1, 2]), None, "no identity of theirs is in the gallery"),
        (items([7], [1]), items([-1], [1]), None, "the gallery is empty"),
        (items([], []), items([7], [1]), None, "there are no queries"),
        (items([7], [1], [[1, 2]]), items([7], [2]), None, "2 wide, the gallery's 1"),
        (items([7], [1]), items([7], [2]), np.zeros((2, 1)), r"shape \(2, 1\)"),
        (items([7], [1]), items([7], [2]), np.full((1, 1), np.nan), "NaN"),
    ],
)
def test_bad_input(query, gallery, distances, text):
    with pytest.raises(BadInput, match=text):
        score(query, gallery, distances=distances)


def test_lists_leave_out_what_the_metrics_skip():
    # Order by distance: 0 junk, 1 own camera, 2 wrong, 3 right, 4 wrong, 5 right.
    gallery = items([-1, 7, 8, 7, 8, 7], [2, 1, 2, 2, 3, 3])
    found = score(items([7], [1]), gallery, distances=np.arange(6.0)[None], top=10).ranking
    assert found.index.tolist() == [[2, 3, 4, 5, -1]]
    assert found.match.tolist() == [[False, True, False, True, False]]
    assert found.nearness[0, :4].tolist() == [-2, -3, -4, -5]


@settings(max_examples=50, deadline=None)
@given(labels, labels, st.integers(0, 2**32 - 1))
def test_lists_agree_with_the_ranks(query_labels, gallery_labels, seed):
    query = items([max(pid, 0) for pid, _ in query_labels], [cam for _, cam in query_labels])
    gallery = items(*zip(*gallery_labels, strict=True))
    distances = np.random.default_rng(seed).integers(0, 5, (len(query), len(gallery))) / 4
    if not brute_force(distances, query, gallery)[0]:
        return
    found = score(query, gallery, distances=distances, top=100)
    for row, first in enumerate(found.first_match):
        hits = np.flatnonzero(found.ranking.match[row])
        assert (hits[0] + 1 if len(hits) else 0) == first


def test_open_set_by_hand():
    # True pairs at 0.9, 0.7 and 0.2; false ones at 0.8 and 0.1. No false pair may pass at 1 %:
    # only what is nearer than 0.8 counts.
    gallery = items([7, 7, 7, 8, 8], [2] * 5)
    nearness = np.array([[0.9, 0.7, 0.2, 0.8, 0.1]])
    found = score(items([7], [1]), gallery, distances=-nearness, open_set=True)
    assert found.tpr_at_fpr == {0.001: pytest.approx(1 / 3), 0.01: pytest.approx(1 / 3)}


def test_open_set_equals_all_pairs_sorted(monkeypatch):
    generator = np.random.default_rng(1)
    query = items(generator.integers(0, 20, 60), generator.integers(0, 3, 60))
    gallery = items(generator.integers(-1, 20, 500), generator.integers(0, 3, 500))
    same = query.pids[:, None] == gallery.pids
    nearness = generator.normal(size=(60, 500)).astype(np.float32) + same
    monkeypatch.setattr("pipelines.neighbours.exact.BLOCK_BYTES", 4 * 500 * 16)  # several blocks
    found = score(query, gallery, distances=-nearness, open_set=True).tpr_at_fpr
    counts = (gallery.pids >= 0) & ~(same & (query.camids[:, None] == gallery.camids))
    true, false = nearness[same & counts], np.sort(nearness[~same & counts])[::-1]
    for rate, share in found.items():
        assert share == pytest.approx((true > false[int(rate * len(false))]).mean())


def test_a_query_without_identity_is_not_valid():
    found = score(items([7, -1], [1, 1]), items([7, -1], [2, 2]), distances=np.zeros((2, 2)))
    assert (found.queries, found.valid_queries) == (2, 1)
