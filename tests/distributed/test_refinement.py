"""A set refined in parts is what one process makes of it, for any number of parts."""

import numpy as np
import pytest
from helpers.in_parts import GALLERY, MODELS, QUERY, in_parts

from pipelines.gallery.refinement import refine
from pipelines.ranking.metrics import score

CLOSE = 6e-6  # of embeddings


@pytest.fixture(autouse=True)
def unflushed(monkeypatch):
    """Thousands of small files, each of which would wait for the disk."""
    monkeypatch.setattr("pipelines.files._flush", lambda path: None)


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
