import numpy as np
import pytest

from pipelines.artifacts.embeddings import save_embeddings
from pipelines.artifacts.manifest import Manifest
from pipelines.artifacts.nformer import load_nformer
from pipelines.artifacts.run import Run
from pipelines.config import NFormerConfig
from pipelines.embeddings import Embeddings
from pipelines.errors import BadInput, MissingArtifact, StaleArtifact
from pipelines.stages.train_nformer import train_nformer
from pipelines.training.held_out import HeldOut

SMALL = NFormerConfig(closed_form=False, layers=1, neighbours=5, batch=60, steps=4, eval_every=2)


def run_with(folder, pids, dim=8, splits=("train",)):
    """Make a run that holds embeddings of these people."""
    random, pids = np.random.default_rng(0), np.asarray(pids)
    features = random.normal(size=(100, dim))[pids] + 0.5 * random.normal(size=(len(pids), dim))
    some = Embeddings(features, pids, np.arange(len(pids)) % 3)
    run = Run(folder)
    with run.writing(Manifest("embeddings.h5", "extract", {}, {})) as (path, facts):
        save_embeddings(path, **dict.fromkeys(splits, some))
        facts["dataset"] = "market1501"
    return run


PEOPLE = np.repeat(np.arange(40), 5)


def test_it_writes_a_model_and_says_what_the_held_out_people_gained(tmp_path, recorder):
    run = run_with(tmp_path, PEOPLE)
    path = train_nformer(run, config=SMALL, device="cpu", progress=recorder)
    model = load_nformer(path)
    assert (model.dim, model.settings["layers"], model.settings["classes"]) == (8, 1, 32)
    assert not model.training
    facts = run.facts("nformer.pt")
    assert facts["held_out_identities"] == 8 and facts["dataset"] == "market1501"
    assert [check["step"] for check in facts["held_out_checks"]] == [0, 2, 4]
    assert any("held-out mAP" in said for said in recorder.messages + recorder.warnings)
    assert not (tmp_path / ".unfinished").exists()


def test_it_is_up_to_date_the_second_time_and_stale_with_other_settings(tmp_path, recorder):
    run = run_with(tmp_path, PEOPLE)
    path = train_nformer(run, config=SMALL, device="cpu")
    before = path.read_bytes()
    train_nformer(run, config=SMALL, device="cpu", progress=recorder)
    assert recorder.messages == [f"{path} is up to date"]
    other = NFormerConfig(**{**vars(SMALL), "neighbours": 6})
    with pytest.raises(StaleArtifact, match="neighbours was 5, now 6"):
        train_nformer(run, config=other, device="cpu")
    train_nformer(run, config=SMALL, device="cpu", overwrite=True)
    assert path.read_bytes() == before


def test_it_says_when_training_does_not_help(tmp_path, recorder, monkeypatch):
    monkeypatch.setattr(HeldOut, "refined", lambda *_, **__: 0.01)
    train_nformer(run_with(tmp_path, PEOPLE), config=SMALL, device="cpu", progress=recorder)
    assert any("training does not help" in said for said in recorder.warnings)


def test_a_batch_larger_than_the_set_is_said(tmp_path, recorder):
    config = NFormerConfig(**{**vars(SMALL), "batch": 5000})
    train_nformer(run_with(tmp_path, PEOPLE), config=config, device="cpu", progress=recorder)
    said = "batch is 200 instead of 5000: the train split has no more embeddings"
    assert said in recorder.messages


def test_few_identities_are_all_trained_on(tmp_path, recorder):
    run = run_with(tmp_path, [0, 0, 0, 1, 1, 1, 2, 2])
    train_nformer(run, config=SMALL, device="cpu", progress=recorder)
    assert any("no identities could be held out" in said for said in recorder.warnings)
    assert run.facts("nformer.pt")["held_out_mAP"] is None


def test_what_cannot_be_trained_on_is_refused(tmp_path):
    with pytest.raises(MissingArtifact, match="nformer extract"):
        train_nformer(Run(tmp_path / "none"), config=SMALL, device="cpu")
    with pytest.raises(BadInput, match="no split 'train'"):
        train_nformer(run_with(tmp_path / "q", PEOPLE, splits=("query",)), device="cpu")
    with pytest.raises(BadInput, match="labels of 1 identity;"):
        train_nformer(run_with(tmp_path / "1", [3, 3, 3]), config=SMALL, device="cpu")
    with pytest.raises(BadInput, match="labels of 0 identities"):
        train_nformer(run_with(tmp_path / "0", [-1] * 4), config=SMALL, device="cpu")
