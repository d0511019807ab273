"""An interrupted choice of the default model goes on from what it had found out."""

import numpy as np
import pytest
import torch

from pipelines.config import NFormerConfig
from pipelines.embeddings import Embeddings
from pipelines.progress import Silent
from pipelines.refiners.edge_gate import EdgeGate
from pipelines.training import choices, default_model, folds
from pipelines.training.choices import Scores, keep_gate, kept_gate

CONFIG = NFormerConfig(steps=1, layers=1, heads=2, lr=0.0)


@pytest.fixture
def train():
    random = np.random.default_rng(0)
    pids = np.repeat(np.arange(12), 4)
    features = random.normal(size=(12, 16))[pids] + random.normal(size=(48, 16))
    return Embeddings(features.astype(np.float32), pids, np.tile(np.arange(4) % 2, 12))


@pytest.fixture
def scored(monkeypatch):
    """How often a fold was scored, and after which number Ctrl-C is pressed."""
    counted, plain = {"done": 0, "last": np.inf}, folds.mean_average_precision
    monkeypatch.setattr(choices, "SECONDS", 0.0)

    def counting(*asked, **more):
        if counted["done"] >= counted["last"]:
            raise KeyboardInterrupt
        counted["done"] += 1
        return plain(*asked, **more)

    monkeypatch.setattr(folds, "mean_average_precision", counting)
    return counted


def select(train, folder, key="key"):
    scores = Scores(folder, key=key)
    return default_model.select(train, CONFIG, scores=scores, progress=Silent())


def test_candidates_that_were_scored_are_not_scored_again(train, scored, tmp_path):
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = select(train, tmp_path / "whole")
    needed = scored["done"]
    scored.update(done=0, last=needed // 2)
    with pytest.raises(KeyboardInterrupt):
        select(train, tmp_path / "cut")
    kept = len(Scores(tmp_path / "cut", key="key"))
    assert needed // 3 < kept <= needed // 2
    scored.update(done=0, last=np.inf)
    resumed = select(train, tmp_path / "cut")
    assert abs(scored["done"] - (needed - kept)) <= 5  # two threads count
    assert resumed.settings == whole.settings
    assert resumed.scores.tolist() == whole.scores.tolist()


def test_scores_of_another_training_and_damaged_ones_are_dropped(train, scored, tmp_path):
    select(train, tmp_path)
    assert Scores(tmp_path, key="key") and not Scores(tmp_path, key="another")
    (path,) = tmp_path.glob("scores.*.json")
    path.write_text(path.read_text().replace("0.", "1.", 1))
    assert not Scores(tmp_path, key="key")


def test_a_gate_is_kept_for_its_training_and_closed_form(tmp_path):
    gate, facts = EdgeGate(), {"gate_gain": 0.125}
    keep_gate(tmp_path, gate, facts=facts, key="key", chosen="k = 4")
    assert kept_gate(tmp_path, key="key", chosen="k = 8") is None
    assert kept_gate(tmp_path, key="other", chosen="k = 4") is None
    found, told = kept_gate(tmp_path, key="key", chosen="k = 4")
    assert told == facts
    for name, tensor in gate.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor)
    keep_gate(tmp_path, None, facts={}, key="key", chosen="k = 4")
    assert kept_gate(tmp_path, key="key", chosen="k = 4") == (None, {})


def test_a_run_says_how_far_it_came(train, scored, tmp_path):
    from pipelines.artifacts.unfinished import unfinished_in

    select(train, tmp_path)
    kept = unfinished_in(tmp_path)
    assert str(kept).startswith("candidate ") and " of " not in str(kept)
