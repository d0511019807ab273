"""Camera-aware Jaccard and GNN re-ranking against dense transcriptions of their definitions."""

import numpy as np
import pytest
from helpers.people import scattered

from pipelines import BadInput, Embeddings, score
from pipelines.neighbours.camera_lists import other_camera_lists, own_camera_lists
from pipelines.neighbours.graph import Neighbourhoods
from pipelines.ranking.rerankers.camera_jaccard import rank_camera_jaccard
from pipelines.ranking.rerankers.gnn import rank_by_graph
from pipelines.ranking.rerankers.k_reciprocal import (
    rank_k_reciprocal,
    rank_k_reciprocal_isolated,
    rerank_k_reciprocal,
)
from pipelines.ranking.rerankers.registry import RERANKERS, ranked_by, reranker_named


def items(seed, rows, width=16, identities=15):
    generator = np.random.default_rng(seed)
    pids = np.arange(rows) % identities
    features = scattered(pids, width=width, noise=1.0, random=generator, centres=9)
    return Embeddings(features, pids, generator.integers(0, 3, rows))


@pytest.fixture(scope="module")
def near():
    return Neighbourhoods(items(0, 20), items(1, 160))


def dense(near):
    rows = np.concatenate([near.query_items.features, near.gallery_items.features]).astype(float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows, np.concatenate([near.query_items.camids, near.gallery_items.camids])


def test_camera_jaccard_equals_its_definition(near):
    rows, camids = dense(near)
    N, own, other = len(rows), 5, 20
    distance = 2 - 2 * rows @ rows.T
    distance /= distance.max(axis=1, keepdims=True)
    same = camids[:, None] == camids
    inside = np.argsort(np.where(same, distance, np.inf), axis=1, kind="stable")
    across = np.argsort(np.where(same, np.inf, distance), axis=1, kind="stable")
    V = np.zeros((N, N))
    for i in range(N):
        edges = {j for j in inside[i, : own + 1] if i in inside[j, : own + 1]}
        edges |= {j for j in across[i, : other + 1] if i in across[j, : other + 1]}
        for j in edges:
            V[i, j] = np.exp(-distance[i, j])
    V /= V.sum(axis=1, keepdims=True)
    V = np.stack([V[[*inside[i, :3], *across[i, :3]]].mean(axis=0) for i in range(N)])
    common = np.stack([np.minimum(V[i], V[20:]).sum(axis=1) for i in range(20)])
    expected = 0.7 * (1 - common / (2 - common)) + 0.3 * distance[:20, 20:]
    assert rank_camera_jaccard(near).rows(slice(0, 20)) == pytest.approx(expected, abs=1e-5)


def test_graph_ranking_equals_its_definition(near):
    rows, _ = dense(near)
    similarity = rows @ rows.T
    order = np.argsort(-similarity, axis=1, kind="stable")
    A = np.zeros((len(rows), len(rows)))
    for i in range(len(rows)):
        A[i, order[i, :26]] = 1
    for _ in range(2):
        A = A + A.T
        A = np.stack([similarity[i, order[i, :7]] ** 2 @ A[order[i, :7]] for i in range(len(A))])
        A /= np.linalg.norm(A, axis=1, keepdims=True)
    assert rank_by_graph(near).rows(slice(3, 9)) == pytest.approx(1 - A[3:9] @ A[20:].T, abs=1e-5)


def test_blocks_of_k_reciprocal_are_its_whole(near):
    whole = rerank_k_reciprocal(near.query_items, near.gallery_items)
    ranked = rank_k_reciprocal(near)
    assert ranked.shape == (20, 160)
    assert ranked.rows(slice(5, 11)) == pytest.approx(whole[5:11], abs=1e-6)
    by_block = score(near.query_items, near.gallery_items, distances=ranked)
    at_once = score(near.query_items, near.gallery_items, distances=whole)
    assert by_block.mean_ap == pytest.approx(at_once.mean_ap, abs=1e-6)


@pytest.mark.parametrize("name", sorted(RERANKERS))
def test_re_ranking_finds_more_of_the_right_people(name, near):
    plain = score(near.query_items, near.gallery_items).mean_ap
    ranked = ranked_by(name, near, k1=20, k2=6, weight=0.3)
    assert score(near.query_items, near.gallery_items, distances=ranked).mean_ap > plain + 0.02
    assert reranker_named(name).protocol == ("isolated" if name == "kr-isolated" else "joint")


@pytest.mark.parametrize("name", sorted(RERANKERS))
def test_one_query_and_one_gallery_item(name):
    one = Embeddings([[1.0, 0.0]], [1], [1])
    other = Embeddings([[1.0, 1.0]], [1], [2])
    ranked = ranked_by(name, Neighbourhoods(one, other), k1=20, k2=6, weight=0.3)
    assert ranked.rows(slice(0, 1)).shape == (1, 1)
    assert np.isfinite(ranked.rows(slice(0, 1))).all()


def test_camera_lists_by_hand():
    rows = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]], np.float32)
    camids = np.array([0, 0, 1, 0])
    assert own_camera_lists(rows, camids, k=2).tolist() == [[0, 1], [1, 0], [2, -1], [3, 1]]
    similarity, index = other_camera_lists(rows, camids, k=2)
    assert index.tolist() == [[2, -1], [2, -1], [1, 3], [2, -1]]
    assert similarity[2] == pytest.approx([0.96, 0.8])


def test_bad_input(near):
    with pytest.raises(BadInput, match="known are kr, kr-isolated, cajaccard, gnn"):
        reranker_named("magic")
    blind = Embeddings(near.query_items.features, near.query_items.pids, [-1] * 20)
    with pytest.raises(BadInput, match="cajaccard needs the camera of every item"):
        rank_camera_jaccard(near.like(blind, near.gallery_items))


def test_isolated_k_reciprocal_does_not_see_other_queries(near):
    together = rank_k_reciprocal_isolated(near).rows(slice(0, 20))
    for row in (0, 9, 19):
        alone = near.like(near.query_items.select(np.array([row])), near.gallery_items)
        found = rank_k_reciprocal_isolated(alone).rows(slice(0, 1))
        assert found[0] == pytest.approx(together[row], abs=1e-5)


def test_isolated_k_reciprocal_equals_its_definition(near):
    rows, _ = dense(near)
    query, gallery, k1, half = rows[:20], rows[20:], 20, 10
    squared = 2 - 2 * gallery @ gallery.T
    order = np.argsort(squared, axis=1, kind="stable")
    squared /= squared.max(axis=1, keepdims=True)

    def mutual(i, k):
        return {j for j in order[i, : k + 1] if i in order[j, : k + 1]}

    def grown(near_ones):
        found = set(near_ones)
        for c in near_ones:
            other = mutual(c, half)
            if len(other & near_ones) > 2 / 3 * len(other):
                found |= other
        return sorted(found)

    V = np.zeros((160, 160))
    for i in range(160):
        edges = grown(mutual(i, k1))
        V[i, edges] = np.exp(-squared[i, edges])
    V /= V.sum(axis=1, keepdims=True)
    averaged = np.stack([V[order[i, :6]].mean(axis=0) for i in range(160)])
    found = rank_k_reciprocal_isolated(near).rows(slice(0, 20))
    for q in range(20):
        cosine = gallery @ query[q]
        nearest = np.argsort(-cosine, kind="stable")
        edges = grown({j for j in nearest[:k1] if cosine[j] > gallery[j] @ gallery[order[j, k1]]})
        distance = (2 - 2 * cosine) / (2 - 2 * cosine).max()
        weights = np.zeros(160)
        weights[edges] = np.exp(-distance[edges])
        weights /= 1 + weights.sum()
        weights = (weights + V[nearest[:5]].sum(axis=0)) / 6
        common = np.minimum(weights, averaged).sum(axis=1)
        expected = 0.7 * (1 - common / (2 - common)) + 0.3 * distance
        assert found[q] == pytest.approx(expected, abs=1e-5)
