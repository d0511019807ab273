"""Camera-aware Jaccard and GNN re-ranking against dense transcriptions of their definitions."""

import numpy as np
import pytest

from pipelines import BadInput, Embeddings, score
from pipelines.retrieval.camera_jaccard import rank_camera_jaccard
from pipelines.retrieval.camera_neighbours import other_camera_lists, own_camera_lists
from pipelines.retrieval.graph_ranking import rank_by_graph
from pipelines.retrieval.neighbours import Neighbourhoods
from pipelines.retrieval.rerank import rank_k_reciprocal, rerank_k_reciprocal
from pipelines.retrieval.rerankers import RERANKERS, ranked_by, reranker_named


def items(seed, rows, width=16, identities=15):
    centres = np.random.default_rng(9).normal(size=(identities, width))
    generator = np.random.default_rng(seed)
    pids = np.arange(rows) % identities
    features = centres[pids] + generator.normal(size=(rows, width))
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
    assert reranker_named(name).protocol == "joint"


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
    assert own_camera_lists(rows, camids, 2).tolist() == [[0, 1], [1, 0], [2, -1], [3, 1]]
    similarity, index = other_camera_lists(rows, camids, 2)
    assert index.tolist() == [[2, -1], [2, -1], [1, 3], [2, -1]]
    assert similarity[2] == pytest.approx([0.96, 0.8])


def test_bad_input(near):
    with pytest.raises(BadInput, match="known are kr, cajaccard, gnn"):
        reranker_named("magic")
    blind = Embeddings(near.query_items.features, near.query_items.pids, [-1] * 20)
    with pytest.raises(BadInput, match="cajaccard needs the camera of every item"):
        rank_camera_jaccard(near.like(blind, near.gallery_items))
