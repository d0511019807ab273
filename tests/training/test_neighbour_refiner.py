"""NeighbourRefiner: the training of the command line, on arrays."""

import numpy as np
import pytest
import torch
from helpers.people import scattered

from pipelines import NeighbourRefiner, Run, import_embeddings, load_nformer, train_nformer
from pipelines.config import NFormerConfig
from pipelines.embeddings import Embeddings
from pipelines.errors import BadInput
from pipelines.gallery.refinement import refine

QUICK = {
    "closed_form": False,
    "steps": 3,
    "eval_every": 3,
    "batch": 64,
    "neighbours": 4,
    "layers": 1,
}


def clusters(identities, rows, seed):
    random = np.random.default_rng(seed)
    pids = np.repeat(np.arange(identities), rows)
    features = scattered(pids, width=8, noise=0.5, random=random)
    return features.astype(np.float32), pids, np.tile(np.arange(rows), identities)


@pytest.fixture(scope="module")
def fitted():
    return NeighbourRefiner(**QUICK).fit(*clusters(16, 4, seed=0))


def test_it_is_what_the_commands_do(tmp_path, fitted):
    features, pids, camids = clusters(16, 4, seed=0)
    np.savez(tmp_path / "e.npz", train_features=features, train_pids=pids, train_camids=camids)
    run = Run(tmp_path / "run")
    import_embeddings(run, tmp_path / "e.npz")
    model = load_nformer(train_nformer(run, config=NFormerConfig(**QUICK), device="cpu"))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, fitted.model.state_dict()[name].cpu()), name
    query, gallery = clusters(3, 1, seed=1)[0], clusters(3, 5, seed=2)[0]
    pair = [Embeddings(rows, np.full(len(rows), -1), np.full(len(rows), -1))
            for rows in (query, gallery)]  # fmt: skip
    expected = refine(model, *pair)
    found = fitted.refine(query, gallery)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.features, atol=1e-5)


def test_its_training_is_told_step_by_step_where_asked_and_else_silent(recorder, capsys):
    NeighbourRefiner(**QUICK).fit(*clusters(16, 4, seed=0), progress=recorder)
    assert recorder.counted["train NFormer"] == QUICK["steps"]
    NeighbourRefiner(**QUICK).fit(*clusters(16, 4, seed=0))
    assert capsys.readouterr() == ("", "")


def test_arrays_leave_as_they_came(fitted):
    query, gallery = clusters(3, 1, seed=1)[0], clusters(3, 5, seed=2)[0]
    from_numpy = fitted.refine(query, gallery)
    from_torch = fitted.refine(torch.from_numpy(query), torch.from_numpy(gallery))
    for array, tensor, rows in zip(from_numpy, from_torch, (3, 15), strict=True):
        assert isinstance(array, np.ndarray)
        assert array.shape == (rows, 8)
        assert isinstance(tensor, torch.Tensor)
        assert tensor.device.type == "cpu"
        assert tensor.tolist() == array.tolist()


def test_embeddings_bring_their_labels():
    train = Embeddings(*clusters(16, 4, seed=0))
    query, gallery = Embeddings(*clusters(3, 1, seed=1)), Embeddings(*clusters(3, 5, seed=2))
    refiner = NeighbourRefiner(**QUICK).fit(train)
    found = refiner.refine(query, gallery)
    arrays = refiner.refine(
        query.features, gallery.features, query_camids=query.camids, gallery_camids=gallery.camids
    )
    for items, array, given in zip(found, arrays, (query, gallery), strict=True):
        assert items.features.tolist() == array.tolist()
        assert items.pids.tolist() == given.pids.tolist()


def test_identities_and_cameras_may_be_text():
    """Names in three lists, each numbered alone, do what numbers in the same order do."""
    train, query, gallery = clusters(16, 4, seed=0), clusters(3, 4, seed=1), clusters(3, 4, seed=2)

    def refined(pids, camids):
        refiner = NeighbourRefiner(steps=3, neighbours=4)
        refiner.fit(train[0], pids[train[1]].tolist(), camids[train[2]].tolist())
        asked, looked = (camids[part[2]].tolist() for part in (query, gallery))
        lists = query[0].tolist(), gallery[0].tolist()
        return refiner.refine(*lists, query_camids=asked, gallery_camids=looked)

    def order(names):
        return Embeddings(np.ones((len(names), 1)), names).pids.argsort().argsort()

    people = np.array([f"person {one}" for one in range(16)])
    gates = np.array([f"gate {one}" for one in range(4)])
    named, numbered = refined(people, gates), refined(order(people), order(gates))
    for one, other in zip(named, numbered, strict=True):
        assert one.tolist() == other.tolist()


def test_an_isolated_query_sees_no_other(fitted):
    query, gallery = clusters(3, 1, seed=1)[0], clusters(3, 5, seed=2)[0]
    together = fitted.refine(query, gallery)[0]
    alone = fitted.refine(query[:1], gallery)[0]
    np.testing.assert_allclose(alone, together[:1], atol=1e-6)


def test_save_and_load(tmp_path, fitted):
    path = fitted.save(tmp_path / "deep" / "refiner.pt")
    query, gallery = clusters(3, 1, seed=1)[0], clusters(3, 5, seed=2)[0]
    again = NeighbourRefiner().load(path).refine(query, gallery)
    assert again[0].tolist() == fitted.refine(query, gallery)[0].tolist()


def test_refusals(tmp_path):
    with pytest.raises(BadInput, match="speed is no setting; did you mean seed"):
        NeighbourRefiner(speed=3)
    with pytest.raises(BadInput, match="learned nothing yet; call fit, or load"):
        NeighbourRefiner().refine(np.ones((1, 2)), np.ones((2, 2)))
    with pytest.raises(BadInput, match="learned nothing yet; call fit, or load"):
        NeighbourRefiner().save(tmp_path / "x.pt")
    with pytest.raises(BadInput, match="3 embeddings but 2 pids: one for each is needed"):
        NeighbourRefiner().fit(np.ones((3, 2)), [1, 2])
    with pytest.raises(BadInput, match="labels of 1 identity;"):
        NeighbourRefiner().fit(np.ones((3, 2)), [1, 1, 1])
    with pytest.raises(BadInput, match=r"labels of 0 .* two or more: fit\(features, pids"):
        NeighbourRefiner().fit(np.ones((3, 2)))
    fitted = NeighbourRefiner(**QUICK).fit(*clusters(16, 4, seed=0))
    with pytest.raises(BadInput, match=r"it was trained on embeddings of that width"):
        fitted.refine(np.ones((1, 3)), np.ones((2, 3)))
