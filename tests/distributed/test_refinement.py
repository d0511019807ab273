"""A set refined in parts is what one process makes of it, for any number of parts."""

import numpy as np
import pytest
from helpers.dense import sharp_model
from helpers.in_parts import GALLERY, MODELS, QUERY, in_parts

from pipelines.errors import BadInput
from pipelines.gallery.refinement import refine
from pipelines.ranking.metrics import score

CLOSE = 6e-6  # of embeddings


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Several blocks in the first process; thousands of small files, which wait for no disk."""
    monkeypatch.setattr("pipelines.files._flush", lambda path: None)
    monkeypatch.setattr("pipelines.distributed.on_disk.BLOCK_ROWS", 64)


@pytest.mark.parametrize("protocol", ["isolated", "joint"])
@pytest.mark.parametrize("name", MODELS)
def test_parts_make_what_one_process_makes(name, protocol, tmp_path):
    model = MODELS[name]()
    expected = refine(model, QUERY, GALLERY, protocol=protocol, seed=5)
    changed = np.abs(expected[1].features - GALLERY.features).max()
    assert changed > 0.05 or name.startswith("baseline")
    for shards in (1, 4, 7):
        folder = tmp_path / str(shards)
        found = in_parts(model, folder, shards=shards, protocol=protocol)
        for side in (0, 1):
            apart = np.abs(found[side].features - expected[side].features).max()
            assert apart < CLOSE, (shards, side)
        assert score(*found).mean_ap == pytest.approx(score(*expected).mean_ap, abs=1e-6)


def test_draws_and_chosen_landmarks_are_those_of_one_process(tmp_path):
    model, chosen = MODELS["gate, NFormer"](), []
    for choice, seed in (("random", 6), ("farthest", 5)):
        found = in_parts(
            model,
            tmp_path / choice,
            seeds=range(5, seed + 1),
            landmarks=choice,
            record=chosen.append,
        )
        expected = refine(model, QUERY, GALLERY, landmarks=choice, seed=seed)
        for side in (0, 1):
            assert np.abs(found[side].features - expected[side].features).max() < CLOSE
    assert len({str(one.tolist()) for one in chosen}) == 3


def test_a_foreign_set_stays_as_it_is(tmp_path):
    model, told = MODELS["gate, NFormer"](), []
    model.closed_form.assume = "foreign"
    for protocol in ("isolated", "joint"):
        found = in_parts(model, tmp_path, protocol=protocol, tell=told.append)
        for side, given in zip(found, (QUERY, GALLERY), strict=True):
            assert np.allclose(side.features, given.features, atol=1e-6)
    assert [domain.foreign for domain in told] == [True, True]


def test_rows_that_cannot_be_refined_are_named_by_their_numbers(tmp_path):
    features = GALLERY.features.copy()
    features[[70, 399]] = 0
    with pytest.raises(BadInput, match=r"2 of 400 gallery embeddings are zero.*rows 70, 399"):
        in_parts(MODELS["NFormer"](), tmp_path, gallery=GALLERY.with_features(features))


@pytest.mark.parametrize("choice", [{"mask": "none"}, {"graph": "affinity"}])
def test_layers_that_read_otherwise_are_refused(choice, tmp_path):
    with pytest.raises(BadInput, match="layers that read neighbours by cosine; this NFormer has"):
        in_parts(sharp_model(16, **choice), tmp_path)
