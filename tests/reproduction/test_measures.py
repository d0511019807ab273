"""Likeness of affinities and attention on other identities, against dense transcriptions."""

import numpy as np
import pytest
import torch

from pipelines import Embeddings
from pipelines.gallery.refinement import prepare
from pipelines.neighbours.nearest import nearest_neighbours
from pipelines.neighbours.reciprocity import reciprocal
from pipelines.nformer.model import NFormer
from pipelines.reporting.paper import is_the_papers
from pipelines.reproduction.figure4 import growing_sets, irrelevant_mass
from pipelines.reproduction.likeness import affinity_similarity, cosines
from pipelines.reproduction.measured import MeasuredFigures


def random_rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_cosines_by_traces_are_those_of_the_whole_matrices():
    query, key, marks = random_rows(30, 6), 1 + random_rows(30, 6, seed=1), torch.tensor([3, 17, 8])
    exact = query.double() @ key.double().T
    rough = (query.double() @ key[marks].double().T) @ (key.double() @ query[marks].double().T).T
    plain = torch.nn.functional.cosine_similarity(exact.flatten(), rough.flatten(), dim=0)
    centred = np.corrcoef(exact.flatten(), rough.flatten())[0, 1]
    assert cosines(query, key, landmarks=marks) == pytest.approx(
        (float(plain), float(centred)), abs=1e-9
    )


def test_the_scale_of_queries_and_keys_does_not_matter():
    query, key, marks = random_rows(40, 4), random_rows(40, 4, seed=1), torch.arange(40)
    once = cosines(query, key, landmarks=marks)
    assert cosines(3 * query, 5 * key, landmarks=marks) == pytest.approx(once)
    assert 0 < once[0] <= 1


def test_likeness_of_a_model_has_an_entry_for_each_number():
    model = NFormer(dim=8, classes=3, layers=2, neighbours=4, landmarks=3)
    rows = prepare(model, random_rows(50, 8), what="rows")
    found = affinity_similarity(model, rows, counts=[1, 50], draws=2)
    assert list(found) == [1, 50]
    assert all(-1 <= value <= 1 for pair in found.values() for value in pair)


@pytest.mark.parametrize("mask", ["none", "reciprocal"])
def test_attention_on_others_is_that_of_dense_weights(mask):
    pids = np.repeat(np.arange(6), 4)
    items = Embeddings(random_rows(24, 8).numpy(), pids, np.zeros(24))
    model = NFormer(
        dim=8, classes=3, layers=1, heads=2, neighbours=5, affinity="exact", mask=mask
    ).eval()
    for parameter in model.blocks[0].attention.parameters():
        parameter.data.mul_(20)  # so that weights differ
    rows = prepare(model, items.features, what="rows")
    attention = model.blocks[0].attention
    query, key = (p(rows).view(24, 2, 4).transpose(0, 1) for p in (attention.query, attention.key))
    logits = query @ key.mT / 2  # the square root of the width
    if mask == "reciprocal":
        lists = nearest_neighbours(rows, 5)[1]
        kept = torch.eye(24, dtype=torch.bool)
        edges = reciprocal(lists[:, None])[:, 0]
        kept[torch.arange(24)[:, None].expand(24, 5)[edges], lists[edges]] = True
        logits = logits.masked_fill(~kept, -torch.inf)
    other = torch.from_numpy(pids[:, None] != pids)
    expected = float((logits.detach().softmax(dim=2) * other).sum() / 48)
    assert irrelevant_mass(model, items) == pytest.approx(expected, abs=1e-5)
    assert 0 < expected < 1


def test_sets_grow_by_whole_identities():
    pids = np.repeat(np.arange(1, 21), 3)
    gallery = Embeddings(random_rows(60, 4).numpy(), pids, np.zeros(60))
    sizes = []
    for items in growing_sets(gallery):
        assert set(np.unique(items.pids, return_counts=True)[1]) == {3}
        sizes.append(len(items))
    assert sizes == sorted(sizes) and sizes[0] == 12 and sizes[-1] == 60


@pytest.mark.parametrize("identities", [1, 2, 3])
def test_few_identities_are_sets_too_and_none_comes_twice(identities):
    pids = np.repeat(np.arange(identities), 3)
    gallery = Embeddings(random_rows(len(pids), 4).numpy(), pids, np.zeros(len(pids)))
    assert [len(items) for items in growing_sets(gallery)][-1] == len(pids)
    assert len(list(growing_sets(gallery))) == 1


def test_cells_are_kept_and_those_of_other_embeddings_are_not(tmp_path):
    path = tmp_path / "cells.json"
    MeasuredFigures(path, digest="a").put({"mAP": 0.5}, "baseline", 0)
    assert MeasuredFigures(path, digest="a").get("baseline", 0) == {"mAP": 0.5}
    assert MeasuredFigures(path, digest="a").get("baseline", 1) is None
    assert MeasuredFigures(path, digest="b").get("baseline", 0) is None
    path.write_text("{cut")
    assert MeasuredFigures(path, digest="a").get("baseline", 0) is None


def test_the_papers_numbers_are_for_its_own_test_sets():
    assert is_the_papers("market1501", 3368)
    assert not is_the_papers("market1501", 74)  # another set in Market-1501's layout
    assert not is_the_papers("folder", 3368)
