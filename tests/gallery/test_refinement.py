import logging

import numpy as np
import pytest
import torch
from helpers.dense import CHOICES, dense_nformer, rows_of, sharp_model

from pipelines.embeddings import Embeddings
from pipelines.errors import BadInput
from pipelines.gallery.refinement import average_draws, refine, refine_draws, refine_set
from pipelines.nformer.released import nformer_from_released


def embeddings(rows):
    count = len(rows)
    return Embeddings(rows, np.zeros(count, np.int64), np.zeros(count, np.int64))


def model_of(dim=8, **choices):
    return sharp_model(dim, **choices)


def test_refine_set_is_what_the_released_code_computes(golden):
    state = {name[3:]: value for name, value in golden.items() if name.startswith("sd/")}
    model = nformer_from_released(state)
    for x, expected in zip(golden["x"], golden["eval_out"], strict=True):
        refined = refine_set(model, x.numpy(), landmarks=golden["landmarks"])
        assert refined.dtype == np.float32
        assert np.abs(refined - expected.numpy()).max() < 1e-4


def test_numpy_and_torch_in_the_same_out():
    model, rows = model_of(), rows_of(20, 8)
    from_numpy, from_torch = refine_set(model, rows.numpy()), refine_set(model, rows)
    assert isinstance(from_numpy, np.ndarray) and isinstance(from_torch, torch.Tensor)
    assert np.array_equal(from_numpy, from_torch.numpy())
    assert np.allclose(refine_set(model, rows.double().numpy()), from_numpy)
    turned = np.asfortranarray(rows.numpy())[::-1].astype(">f4")
    assert np.allclose(refine_set(model, turned[::-1]), from_numpy)
    turned.flags.writeable = False
    assert np.allclose(refine_set(model, turned[::-1].tolist()), from_numpy)
    assert np.allclose(refine_set(model, rows.half()).numpy(), from_numpy, atol=0.1)


def test_the_length_of_rows_does_not_matter():
    model, rows = model_of(), rows_of(20, 8)
    lengths = torch.logspace(-18, 18, 20)[:, None]
    assert torch.allclose(refine_set(model, rows * lengths), refine_set(model, rows), atol=1e-4)


def test_a_model_in_training_is_refined_with_as_in_evaluation():
    model, rows = model_of(), rows_of(20, 8)
    expected = refine_set(model, rows)
    assert torch.equal(refine_set(model.train(), rows), expected)
    assert model.training


@pytest.mark.parametrize("graph,mask,affinity", CHOICES)
def test_each_query_is_refined_as_if_it_were_alone(graph, mask, affinity):
    """The definition itself: the gallery reads the gallery; a query reads itself and the gallery.

    Written densely for one query after another, in one matrix with the gallery.
    """
    model = model_of(graph=graph, mask=mask, affinity=affinity)
    gallery, query = rows_of(40, 8, seed=3), rows_of(5, 8, seed=4)
    landmarks = torch.tensor([[0, 7, 9], [1, 2, 3], [39, 20, 5]])
    refined_query, refined_gallery = refine(
        model, embeddings(query), embeddings(gallery), landmarks=landmarks
    )
    expected = model.embed(dense_nformer(model, gallery, landmarks))
    assert np.abs(refined_gallery.features - expected.detach().numpy()).max() < 1e-4
    for number in range(len(query)):
        expected = model.embed(dense_query(model, gallery, query[number], landmarks))
        assert np.abs(refined_query.features[number] - expected.detach().numpy()).max() < 1e-4


def dense_query(model, gallery, query, landmarks):
    """Refine one query densely: its row beside the gallery's, which do not read it."""
    count = len(gallery)
    rows = torch.cat([gallery, query[None]])
    return dense_nformer(model, rows, landmarks, newcomer=True)[count]


def test_a_query_is_refined_alike_alone_in_any_order_and_in_any_batch():
    for graph in ("cosine", "affinity"):
        model = model_of(dim=32, graph=graph)
        gallery, query = rows_of(200, 32, seed=5).numpy(), rows_of(37, 32, seed=6).numpy()
        together, refined_gallery = refine(model, embeddings(query), embeddings(gallery))
        order = np.random.default_rng(0).permutation(37)
        for rows in ([0], [36], [5, 6], order, order[:17]):
            some, same_gallery = refine(model, embeddings(query[rows]), embeddings(gallery))
            assert np.abs(some.features - together.features[rows]).max() < 1e-6
            assert np.array_equal(same_gallery.features, refined_gallery.features)


@pytest.mark.parametrize(("queries", "items"), [(15, 40), (9, 3)])
@pytest.mark.parametrize(("graph", "mask", "affinity"), CHOICES)
def test_in_the_papers_protocol_only_queries_do_not_read_each_other(
    graph, mask, affinity, queries, items
):
    """One set, the edges between queries removed from a dense matrix (section 4.2)."""
    model = model_of(graph=graph, mask=mask, affinity=affinity)
    rows = rows_of(queries + items, 8, seed=3)
    landmarks = torch.tensor([[0, 7, 9], [1, 2, 3], [queries + 1, 10, 5]])
    given = embeddings(rows[:queries]), embeddings(rows[queries:])
    refined = refine(model, *given, landmarks=landmarks, protocol="paper")
    expected = model.embed(dense_nformer(model, rows, landmarks, apart=queries)).detach().numpy()
    assert np.abs(refined[0].features - expected[:queries]).max() < 1e-4
    assert np.abs(refined[1].features - expected[queries:]).max() < 1e-4
    if (graph, mask, affinity) == ("cosine", "reciprocal", "landmarks"):
        joint = refine(model, *given, landmarks=landmarks, protocol="joint")
        assert np.abs(refined[0].features - joint[0].features).max() > 1e-3


def test_isolated_and_joint_differ_and_joint_is_one_set():
    model = model_of()
    gallery, query = rows_of(40, 8, seed=3), rows_of(30, 8, seed=3)
    joint = refine(model, embeddings(query), embeddings(gallery), protocol="joint", seed=4)
    together = refine_set(model, torch.cat([query, gallery]), seed=4).numpy()
    assert np.array_equal(joint[0].features, together[:30])
    assert np.array_equal(joint[1].features, together[30:])
    isolated = refine(model, embeddings(query), embeddings(gallery), seed=4)
    assert np.abs(isolated[0].features - joint[0].features).max() > 1e-3


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    model, rows = model_of(), rows_of(50, 8)
    assert torch.equal(refine_set(model, rows, seed=3), refine_set(model, rows, seed=3))
    assert not torch.equal(refine_set(model, rows, seed=3), refine_set(model, rows, seed=4))


def test_blocks_of_rows_change_nothing(monkeypatch):
    for mask in ("reciprocal", "topk", "none"):
        model, rows = model_of(mask=mask), rows_of(50, 8)
        whole = refine_set(model, rows)
        with monkeypatch.context() as patch:
            patch.setattr("pipelines.nformer.layerwise.BLOCK_ROWS", 16)
            patch.setattr("pipelines.neighbours.reciprocity.BLOCK_COMPARISONS", 100)
            assert torch.allclose(refine_set(model, rows), whole, atol=1e-5)


def test_draws_are_those_of_their_seeds_and_average_to_their_mean():
    model, query, gallery = model_of(), embeddings(rows_of(9, 8)), embeddings(rows_of(40, 8))
    for protocol in ("isolated", "joint"):
        draws = list(refine_draws(model, query, gallery=gallery, seeds=[4, 5], protocol=protocol))
        for seed, pair in zip((4, 5), draws, strict=True):
            expected = refine(model, query, gallery, protocol=protocol, seed=seed)
            for side in (0, 1):
                assert np.array_equal(pair[side].features, expected[side].features)
        mean = average_draws(draws)
        middle = (draws[0][1].features + draws[1][1].features) / 2
        assert np.abs(mean[1].features - middle).max() < 1e-6


@pytest.mark.parametrize("queries", [0, 1, 3])
@pytest.mark.parametrize("items", [1, 2])
def test_tiny_sets(queries, items):
    model = model_of()
    query, gallery = refine(
        model, embeddings(rows_of(3, 8)[:queries]), embeddings(rows_of(items, 8, seed=1))
    )
    assert query.features.shape == (queries, 8) and np.isfinite(query.features).all()
    assert gallery.features.shape == (items, 8) and np.isfinite(gallery.features).all()


@pytest.mark.parametrize("choice", ["random", "kmeans", "farthest"])
def test_every_choice_of_landmarks_refines(choice):
    model, rows = model_of(), rows_of(30, 8)
    refined = refine_set(model, rows, landmarks=choice)
    assert refined.isfinite().all()
    assert torch.equal(refined, refine_set(model, rows, landmarks=choice))


def test_what_is_clipped_is_said(caplog):
    with caplog.at_level(logging.WARNING, logger="nformer"):
        refine_set(model_of(neighbours=9), rows_of(4, 8))
    assert "9 neighbours, but the set has 4 rows" in caplog.text


def test_wrong_rows_are_refused_by_number():
    model, rows = model_of(), rows_of(20, 8)
    with pytest.raises(BadInput, match=r"shape \[20, 5\]; this NFormer refines \[N, 8\]"):
        refine_set(model, rows[:, :5])
    with pytest.raises(BadInput, match=r"the shape \(8,\)"):
        refine_set(model, rows[0])
    broken = rows.clone()
    broken[3, 0], broken[17, 7] = torch.nan, torch.inf
    with pytest.raises(BadInput, match=r"2 of 20 embeddings hold NaN .* \(rows 3, 17\)"):
        refine_set(model, broken)
    broken = rows.clone()
    broken[4] = 0
    with pytest.raises(BadInput, match=r"1 of 20 embeddings are zero: .* \(rows 4\)"):
        refine_set(model, broken.numpy())
    with pytest.raises(BadInput, match="no embeddings"):
        refine_set(model, rows[:0])


def test_wrong_landmarks_and_protocols_are_refused():
    model, rows = model_of(), rows_of(20, 8)
    with pytest.raises(BadInput, match="from 0 to 19"):
        refine_set(model, rows, landmarks=[[0, 20]] * 3)
    with pytest.raises(BadInput, match=r"must be \[3 layers, l\]"):
        refine_set(model, rows, landmarks=[[0, 1]])
    with pytest.raises(BadInput, match="known are random, kmeans, farthest"):
        refine_set(model, rows, landmarks="best")
    with pytest.raises(BadInput, match="known are isolated, joint"):
        refine(model, embeddings(rows), embeddings(rows), protocol="both")
