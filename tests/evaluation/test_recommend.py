"""Which refiner held-out identities recommend, and whether cameras were used, in every result."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from nformer_cli.app import app
from pipelines.artifacts.nformer import load_nformer
from pipelines.artifacts.run import Run
from pipelines.config import EvaluateConfig, NFormerConfig
from pipelines.errors import BadInput
from pipelines.evaluation.recommend import recommend
from pipelines.nformer.model import NFormer
from pipelines.nformer.on_closed_form import NFormerOnClosedForm
from pipelines.stages.evaluate import evaluate
from pipelines.stages.import_embeddings import import_embeddings
from pipelines.stages.train_nformer import train_nformer

QUICK = {"layers": 1, "steps": 2, "eval_every": 2, "batch": 64}


def people(first, persons, each, split, *, shift=2.0, cameras=True):
    random = np.random.default_rng(first)
    pids = np.repeat(np.arange(first, first + persons), each)
    camids = np.tile(np.arange(each) % 2, persons)
    features = random.normal(size=(persons, 12))[pids - first]
    features += 0.7 * random.normal(size=(len(pids), 12))
    features += shift * np.random.default_rng(9).normal(size=(2, 12))[camids]
    table = {"features": features.astype(np.float32), "pids": pids}
    table |= {"camids": camids} if cameras else {}
    table["names"] = np.array([f"{split}/{row}.jpg" for row in range(len(pids))])
    return {f"{split}_{key}": value for key, value in table.items()}


def run_with(folder, **settings):
    run = Run(folder / "run")
    query = people(100, 12, 2, "query", **settings)
    gallery = people(100, 12, 8, "gallery", **settings)
    content = {**people(0, 20, 8, "train", **settings), **query, **gallery}
    np.savez(folder / "e.npz", **content)
    import_embeddings(run, folder / "e.npz")
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = run_with(tmp_path_factory.mktemp("recommend"))
    train_nformer(run, config=NFormerConfig(**QUICK), device="cpu")
    return run


def test_the_default_model_has_a_prior_and_says_how_sure_it_is(trained):
    model, facts = load_nformer(trained.artifact("nformer.pt")), trained.facts("nformer.pt")
    assert isinstance(model, NFormerOnClosedForm) and isinstance(model, NFormer)
    assert facts["closed_form"] == model.closed_form.settings.as_table()
    assert facts["folds"] == 8 and facts["folds_gain"] > 0 and facts["folds_gain_error"] >= 0
    assert model.closed_form.settings.centre == "camera"


def test_it_is_better_than_the_baseline_on_people_never_seen(trained):
    result = evaluate(trained)
    assert result.row("nformer").mAP > result.row("baseline").mAP + 0.1
    assert result.row("nformer").extra["camera_aware"] is True
    assert result.row("baseline").extra["camera_aware"] is False
    joint = evaluate(trained, config=EvaluateConfig(protocol="joint"))
    assert joint.row("nformer").mAP > joint.row("baseline").mAP + 0.1


def test_without_cameras_it_says_so_and_is_another(trained):
    off = evaluate(trained, config=EvaluateConfig(camera_aware="off")).row("nformer")
    assert off.extra["camera_aware"] is False
    assert off.mAP < evaluate(trained).row("nformer").mAP


def test_auto_recommends_one_by_held_out_identities(trained, recorder):
    config = EvaluateConfig(refine=("auto",))
    result = evaluate(trained, config=config, progress=recorder)
    advice = recommend(trained)
    assert list(advice.held_out.values()) == sorted(advice.held_out.values(), reverse=True)
    assert {"baseline", "nformer", "nfc", "camera,whiten,nfc"} <= set(advice.held_out)
    assert [row.name for row in result.results] == ["baseline", ",".join(advice.refine)]
    assert result.results[-1].extra["recommended"] and advice.describe() in result.notes
    assert evaluate(trained, config=config) == result  # up to date: read again
    best = max(row.mAP for row in evaluate(trained, config=EvaluateConfig(every=True)).results)
    assert result.results[-1].mAP > best - 0.05


def test_auto_of_a_plain_nformer_uses_the_identities_it_never_saw(tmp_path):
    run = run_with(tmp_path)
    train_nformer(run, config=NFormerConfig(closed_form=False, neighbours=5, **QUICK), device="cpu")
    advice = recommend(run)
    assert advice.folds == 1 and "nformer" in advice.held_out
    with pytest.raises(BadInput, match="makes no use of camera ids; train one that does"):
        evaluate(run, config=EvaluateConfig(camera_aware="on"))


def test_auto_without_nformer_and_without_cameras(tmp_path):
    run = run_with(tmp_path, cameras=False)
    advice = recommend(run)
    assert "nformer" not in advice.held_out and "camera" not in advice.held_out
    with pytest.raises(BadInput, match="needs camera ids, and embeddings.h5 has none"):
        train_nformer(run, config=NFormerConfig(camera_aware="on"), device="cpu")
    train_nformer(run, config=NFormerConfig(**QUICK), device="cpu")
    with pytest.raises(BadInput, match="no camera ids are known for query and gallery"):
        evaluate(run, config=EvaluateConfig(camera_aware="on"))


def test_auto_stands_alone():
    for config in (
        EvaluateConfig(refine=("auto", "nfc")),
        EvaluateConfig(refine=("auto",), every=True),
    ):
        with pytest.raises(BadInput, match="--refine auto stands alone"):
            evaluate(Run("nowhere"), config=config)


def test_the_command(trained):
    out = CliRunner().invoke(
        app, ["evaluate", "--run", str(trained.folder), "--refine", "auto", "--json"]
    )
    assert out.exit_code == 0
    names = [row["name"] for row in json.loads(out.stdout.splitlines()[-1])["results"]]
    assert names[0] == "baseline" and len(names) <= 2


def test_neighbours_are_a_number_or_auto(tmp_path):
    asked = ["train-nformer", "--run", str(tmp_path), "--neighbours"]
    for wrong in ("0", "-3", "many"):
        out = CliRunner().invoke(app, [*asked, wrong])
        assert out.exit_code == 2 and "neither a number" in out.output
