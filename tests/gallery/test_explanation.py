"""The weights shown are those that refinement used."""

import numpy as np
import pytest
import torch

from pipelines.gallery.explanation import shares_of
from pipelines.gallery.states import refine_gallery, refine_queries
from pipelines.nformer.model import NFormer
from pipelines.nformer.on_closed_form import NFormerOnClosedForm
from pipelines.refiners.closed_form import ClosedForm, ClosedFormSettings


def rows_of(count, seed):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 8)).astype("f4"))


def model_of(**settings):
    torch.manual_seed(0)
    model = NFormer(dim=8, classes=3, layers=2, neighbours=4, **settings).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def explained(state, queries):
    layers = []
    return refine_queries(state, queries, explain=layers), layers


def test_shares_add_up_to_one_and_follow_the_edges():
    state = refine_gallery(model_of(), rows_of(30, 1))
    layers = explained(state, rows_of(5, 2))[1]
    assert len(layers) == 2
    for layer in layers:
        assert layer.items.shape == (5, 3)
        torch.testing.assert_close(layer.own + layer.lent.sum(dim=1), torch.ones(5))
        assert layer.lent.gt(0).equal(layers[0].lent.gt(0))  # one graph
    assert 0 < layers[0].lent.gt(0).sum() < layers[0].lent.numel()  # some are not reciprocal
    refined = explained(state, rows_of(5, 2))[0]
    assert refined.equal(refine_queries(state, rows_of(5, 2)))
    own, lent = shares_of(layers, 0)
    assert own + sum(lent.values()) == pytest.approx(1, abs=1e-5)
    assert shares_of([], 0) == (1.0, {})


def test_the_first_layers_weights_by_hand():
    """Softmax over own and kept logits of q·k / √w, with the affinity exact and one head."""
    model = model_of(heads=1, affinity="exact")
    gallery, query = rows_of(30, 1), rows_of(1, 2)
    layer = explained(refine_gallery(model, gallery), query)[1][0]
    attention = model.layers()[0].attention
    unit, own = torch.nn.functional.normalize(gallery), torch.nn.functional.normalize(query)
    kept = layer.lent[0] > 0
    items = layer.items[0][kept]
    asking = attention.query(own)[0] / 8**0.5
    keys = attention.key(torch.cat([own, unit[items]]))
    expected = (keys @ asking).softmax(dim=0)
    torch.testing.assert_close(layer.own[0], expected[0])
    torch.testing.assert_close(layer.lent[0][kept], expected[1:])


def test_the_closed_forms_shares_make_its_rows():
    """A query's state is the normalised sum of its shares times what it reads."""
    settings = ClosedFormSettings(centre="global", neighbours=4, sharpness=2.0)
    closed_form = ClosedForm(dim=8, **settings.as_table())
    model = NFormerOnClosedForm.joined(closed_form, None, share=0.0)
    state, queries = refine_gallery(model, rows_of(30, 1)), rows_of(5, 2)
    (layer,) = explained(state, queries)[1]
    unit = torch.nn.functional.normalize(queries)
    unknown = torch.full((5,), -1)
    own = closed_form.standardise(unit, unknown, means=state.start.means)
    read = (layer.lent[..., None] * state.start.hidden[0][layer.items]).sum(dim=1)
    expected = torch.nn.functional.normalize(layer.own[:, None] * own + read)
    assert layer.lent.gt(0).any()
    torch.testing.assert_close(refine_queries(state, queries), expected)


def test_nothing_is_told_where_each_layer_makes_its_own_graph():
    state = refine_gallery(model_of(graph="affinity"), rows_of(30, 1))
    refined, layers = explained(state, rows_of(5, 2))
    assert layers == []
    torch.testing.assert_close(refined, refine_queries(state, rows_of(5, 2)))
