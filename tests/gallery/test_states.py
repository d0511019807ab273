import numpy as np
import pytest
import torch
from helpers.dense import CHOICES, dense_nformer, rows_of, sharp_model

from pipelines.embeddings import Embeddings
from pipelines.errors import BadInput
from pipelines.gallery import states as incremental
from pipelines.gallery.refinement import refine
from pipelines.gallery.states import add_items, refine_gallery, refine_queries, remove_items
from pipelines.nformer.layerwise import fitting_threads


def model_of(dim=16, **choices):
    return sharp_model(dim, **choices)


def embeddings(rows):
    return Embeddings(rows, np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64))


def whole(state, rows):
    """Refine `rows` in full with the landmarks' states of `state`."""
    return incremental._computed(
        state.model, torch.nn.functional.normalize(rows), landmarks=state.marks
    )


@pytest.mark.parametrize("graph,mask,affinity", CHOICES)
def test_kept_states_give_what_refine_gives(graph, mask, affinity):
    model = model_of(graph=graph, mask=mask, affinity=affinity)
    gallery, query = rows_of(120, 16), rows_of(9, 16, seed=1)
    expected_query, expected_gallery = refine(model, embeddings(query), embeddings(gallery), seed=2)
    state = refine_gallery(model, gallery, seed=2)
    assert np.array_equal(state.refined.numpy(), expected_gallery.features)
    refined = refine_queries(state, query)
    assert np.abs(refined.numpy() - expected_query.features).max() < 1e-5
    one = refine_queries(state, query[4:5].numpy())
    assert isinstance(one, np.ndarray) and np.abs(one - refined[4:5].numpy()).max() < 1e-6
    kind = refine_queries(state, embeddings(query))
    assert isinstance(kind, Embeddings) and np.array_equal(kind.features, refined.numpy())


def same(state, expected):
    assert len(state) == len(expected)
    for ours, theirs in zip(state.hidden, expected.hidden, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    if expected.graph.lists is not None:
        assert torch.equal(state.graph.lists, expected.graph.lists)
        assert torch.equal(state.graph.kept, expected.graph.kept)
        assert torch.equal(state.graph.reach, expected.graph.reach)


@pytest.mark.parametrize("graph,mask,affinity", CHOICES)
def test_adding_items_equals_refining_the_larger_gallery(graph, mask, affinity):
    rows = rows_of(130, 16)
    state = refine_gallery(model_of(graph=graph, mask=mask, affinity=affinity), rows[:120])
    for count in (1, 10):
        larger = add_items(state, rows[120 : 120 + count])
        same(larger, whole(state, rows[: 120 + count]))


@pytest.mark.parametrize("graph,mask,affinity", CHOICES)
def test_removing_items_equals_refining_the_smaller_gallery(graph, mask, affinity):
    rows = rows_of(120, 16)
    state = refine_gallery(model_of(graph=graph, mask=mask, affinity=affinity), rows)
    for gone in ([3], [0, 119, 50, 51]):
        kept = [row for row in range(120) if row not in gone]
        same(remove_items(state, gone), whole(state, rows[kept]))


def test_adding_and_removing_again_and_again():
    random, rows = np.random.default_rng(0), rows_of(200, 16)
    model = model_of()
    state, here = refine_gallery(model, rows[:60]), list(range(60))
    first = state
    for turn in range(8):
        new = list(range(60 + 10 * turn, 70 + 10 * turn))
        state, here = add_items(state, rows[new]), here + new
        gone = random.choice(len(here), 5, replace=False)
        state = remove_items(state, gone)
        here = [row for place, row in enumerate(here) if place not in set(gone.tolist())]
    same(state, whole(first, rows[here]))


def test_only_what_a_change_touches_is_recomputed(monkeypatch):
    """One new item in a gallery of 1,200 in 200 bundles: its bundle and what that reaches."""
    rows = rows_of(1201, 16)
    model = model_of(layers=2)
    state = refine_gallery(model, rows[:1200])
    recomputed = []
    plain = incremental.read_layer

    def counting(state, number, *, states, lists):
        recomputed.append(len(lists[0]))
        return plain(state, number, states=states, lists=lists)

    monkeypatch.setattr(incremental, "read_layer", counting)
    larger = add_items(state, rows[1200:])
    assert len(recomputed) == 2 and recomputed[0] <= recomputed[1] < 300
    same(larger, whole(state, rows))
    untouched = (larger.hidden[-1][:1200] == state.hidden[-1]).all(dim=1)
    assert untouched.sum() >= 900


def test_a_small_gallery_grows_past_k():
    rows = rows_of(12, 16)
    state = first = refine_gallery(model_of(), rows[:2])
    for count in range(3, 13):
        state = add_items(state, rows[count - 1 : count])
        same(state, whole(first, rows[:count]))


def test_duplicates_are_added():
    rows = rows_of(40, 16)
    state = refine_gallery(model_of(), rows)
    same(add_items(state, rows[:3]), whole(state, torch.cat([rows, rows[:3]])))


def on_a_circle(*angles):
    """Unit rows [N, 16] in one plane, at angles in radians."""
    turned = torch.tensor(angles)
    return torch.nn.functional.pad(torch.stack([turned.cos(), turned.sin()], dim=1), (0, 14))


def test_a_twin_takes_its_places_by_hand():
    """Three bundles of three; a twin of row 0 comes, and each row lists itself and two others."""
    rows = on_a_circle(0, 0.1, -0.12, 1.5, 1.6, 1.72, 3.0, 3.1, 3.22)
    model = model_of(neighbours=3, affinity="exact")  # without landmarks' states, which stay
    state = refine_gallery(model, rows)
    assert edges_of(state)[:3] == [{1, 2}, {0, 2}, {0, 1}]
    twice = add_items(state, rows[:1])
    # 0 and its twin 9 list each other and 1; 2 lists both, and neither lists it any more.
    expected = [{1, 9}, {0, 9}, set(), {4, 5}, {3, 5}, {3, 4}, {7, 8}, {6, 8}, {6, 7}, {0, 1}]
    assert edges_of(twice) == expected
    dense = dense_nformer(model, torch.cat([rows, rows[:1]]), torch.zeros(3, 1).long())
    assert torch.allclose(twice.hidden[-1], dense, atol=1e-5)
    assert torch.allclose(twice.hidden[-1][0], twice.hidden[-1][9], atol=1e-6)
    assert torch.equal(twice.hidden[-1][3:9], state.hidden[-1][3:])  # the other bundles
    gone = remove_items(twice, [0])
    assert edges_of(gone)[:2] == [{8, 1}, {8, 0}]  # the twin, now row 8, stands in its place
    assert torch.allclose(gone.hidden[-1][8], state.hidden[-1][0], atol=1e-5)


def edges_of(state):
    lists, kept = state.graph.lists, state.graph.kept
    return [set(row[keep].tolist()) for row, keep in zip(lists, kept, strict=True)]


def test_a_change_as_big_as_the_gallery_equals_dense_matrices():
    """Half of the gallery is new, then the other half goes; states as N×N matrices give them."""
    rows = rows_of(80, 16)
    model = model_of(affinity="exact")
    state = add_items(refine_gallery(model, rows[:40]), rows[40:])
    unused = torch.zeros(3, 1).long()
    assert torch.allclose(state.hidden[-1], dense_nformer(model, rows, unused), atol=1e-5)
    rest = remove_items(state, torch.arange(80) < 40)
    assert torch.allclose(rest.hidden[-1], dense_nformer(model, rows[40:], unused), atol=1e-5)
    refined = refine_queries(rest, rows[:2])
    for query, found in zip(rows[:2], refined, strict=True):
        joined = dense_nformer(model, torch.cat([rows[40:], query[None]]), unused, newcomer=True)
        expected = model.bottleneck(joined[-1:])[0]
        assert torch.allclose(found, expected, atol=1e-5)


def test_what_cannot_be_removed_is_refused():
    state = refine_gallery(model_of(), rows_of(20, 16))
    with pytest.raises(BadInput, match="from 0 to 19"):
        remove_items(state, [20])
    with pytest.raises(BadInput, match="all 20 items would be removed"):
        remove_items(state, list(range(20)))
    assert remove_items(state, []) is state
    same(remove_items(state, np.arange(20) < 5), whole(state, rows_of(20, 16)[5:]))


def test_a_few_rows_take_one_thread_and_give_the_others_back():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(KeyError), fitting_threads(torch.zeros(2, 4)):
            assert torch.get_num_threads() == 1
            raise KeyError
        assert torch.get_num_threads() == 3
        with fitting_threads(torch.zeros(1000, 4)):
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
