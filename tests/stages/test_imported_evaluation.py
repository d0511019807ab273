"""Imported embeddings go the same way as any: train, evaluate, or a model from elsewhere."""

import json

import numpy as np
import pytest
from helpers.gallery_runs import GALLERY, people, run_with
from typer.testing import CliRunner

from nformer_cli.app import app
from pipelines import evaluate, import_embeddings, load_nformer
from pipelines.artifacts.run import Run
from pipelines.errors import BadInput, MissingArtifact, StaleArtifact
from pipelines.refiners.chain import REFINERS


def test_train_and_evaluate(tmp_path):
    result = evaluate(run_with(tmp_path, GALLERY), device="cpu")
    assert [row.name for row in result.results] == ["baseline", "nformer"]
    assert (result.queries, result.valid_queries, result.gallery) == (10, 10, 120)


def test_without_training_identities_every_refiner_that_trains_nothing_is_shown(tmp_path, recorder):
    run = run_with(tmp_path, GALLERY, train=False)
    result = evaluate(run, device="cpu", progress=recorder)
    names = {row.name for row in result.results}
    free = {name for name, refiner in REFINERS.items() if not refiner.needs_train}
    assert {"baseline", *free} <= names
    assert not any("nformer" in name or "whiten" in name for name in names)
    assert recorder.warnings[0] == (
        "these embeddings have no train split, so no NFormer can be trained on them. Shown are the "
        "refiners that need no training; --model FILE takes the nformer.pt of another run"
    )
    again = evaluate(run, device="cpu", progress=recorder)
    assert again.to_json() == result.to_json()


def test_with_training_identities_the_command_that_trains_is_named(tmp_path):
    np.savez(tmp_path / "e.npz", **people(0, 4, 4, 1, "train"), **people(9, 4, 1, 1, "query"),
             **GALLERY)  # fmt: skip
    run = Run(tmp_path / "run")
    import_embeddings(run, tmp_path / "e.npz")
    with pytest.raises(
        MissingArtifact, match=r"nformer.pt is not there; make it with: nformer tra"
    ):
        evaluate(run, device="cpu")


def test_a_model_from_elsewhere(tmp_path, recorder):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    trained = run_with(tmp_path / "a", GALLERY)
    other = run_with(tmp_path / "b", GALLERY, train=False)
    model = trained.artifact("nformer.pt")
    result = evaluate(other, device="cpu", model=model, progress=recorder)
    expected = evaluate(trained, device="cpu")
    assert [row.name for row in result.results] == ["baseline", "nformer"]
    assert result.results[1].mAP == expected.results[1].mAP
    assert recorder.messages[0].endswith(f"is this run's NFormer now: {other.path('nformer.pt')}")
    ours, theirs = load_nformer(other.artifact("nformer.pt")), load_nformer(model)
    assert ours.settings == theirs.settings
    evaluate(other, device="cpu", model=other.path("nformer.pt"))  # its own: nothing to do


def test_a_model_that_does_not_fit_or_would_replace_another(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    trained = run_with(tmp_path / "a", GALLERY)
    narrow = Run(tmp_path / "b" / "run")
    np.savez(tmp_path / "n.npz", query_features=np.eye(3)[:1], query_pids=[0],
             gallery_features=np.eye(3)[1:], gallery_pids=[0, 1])  # fmt: skip
    import_embeddings(narrow, tmp_path / "n.npz")
    model = trained.artifact("nformer.pt")
    with pytest.raises(
        BadInput, match=r"refines embeddings 16 wide, the run's are 3 wide; use one"
    ):
        evaluate(narrow, device="cpu", model=model)
    with pytest.raises(BadInput, match="is not there"):
        evaluate(narrow, device="cpu", model=tmp_path / "none.pt")
    (tmp_path / "c").mkdir()
    own = run_with(tmp_path / "c", people(800, 20, 6, 3, "gallery"))
    with pytest.raises(
        StaleArtifact, match=r"nformer.pt was made otherwise: it was made by train-nfor"
    ):
        evaluate(own, device="cpu", model=model)


def test_the_command(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    model = run_with(tmp_path / "a", GALLERY).artifact("nformer.pt")
    other = run_with(tmp_path / "b", GALLERY, train=False)
    arguments = ["evaluate", "--run", str(other.folder), "--model", str(model), "--json"]
    done = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    assert done.exit_code == 0, done.output
    names = [row["name"] for row in json.loads(done.stdout)["results"]]
    assert names == ["baseline", "nformer"]
