"""The weights shown are those that refinement used."""

import numpy as np
import torch

from pipelines.models.attention_weights import query_weights
from pipelines.models.incremental import refine_gallery
from pipelines.models.nformer import NFormer


def rows_of(count, seed):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 8)).astype("f4"))


def model_of(**settings):
    torch.manual_seed(0)
    model = NFormer(dim=8, classes=3, layers=2, neighbours=4, **settings).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_shares_add_up_to_one_and_follow_the_edges():
    state = refine_gallery(model_of(), rows_of(30, 1))
    weights = query_weights(state, rows_of(5, 2))
    assert weights.items.shape == (5, 3)
    total = weights.own + weights.lent.sum(dim=2)  # [layers, Q]
    torch.testing.assert_close(total, torch.ones(2, 5))
    assert weights.lent.gt(0).equal(weights.lent.gt(0)[:1].expand(2, -1, -1))  # one graph
    assert 0 < weights.lent.gt(0).sum() < weights.lent.numel()  # some are not reciprocal


def test_the_first_layers_weights_by_hand():
    """Softmax over own and kept logits of q·k / √w, with the affinity exact and one head."""
    model = model_of(heads=1, affinity="exact")
    gallery, query = rows_of(30, 1), rows_of(1, 2)
    weights = query_weights(refine_gallery(model, gallery), query)
    attention = model.layers()[0].attention
    unit, own = torch.nn.functional.normalize(gallery), torch.nn.functional.normalize(query)
    kept = weights.lent[0, 0] > 0
    items = weights.items[0][kept]
    asking = attention.query(own)[0] / 8**0.5
    keys = attention.key(torch.cat([own, unit[items]]))
    expected = (keys @ asking).softmax(dim=0)
    torch.testing.assert_close(weights.own[0, 0], expected[0])
    torch.testing.assert_close(weights.lent[0, 0][kept], expected[1:])


def test_nothing_is_shown_where_each_layer_makes_its_own_graph():
    state = refine_gallery(model_of(graph="affinity"), rows_of(30, 1))
    assert query_weights(state, rows_of(5, 2)) is None
