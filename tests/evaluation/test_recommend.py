"""Which refiner held-out identities recommend, and whether cameras were used, in every result."""

import json

import numpy as np
import pytest
from helpers.people import unit
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
from pipelines.training.folds import identity_splits

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
    with pytest.raises(BadInput, match="needs camera ids, and the training embeddings have"):
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


def mean_ap(query, gallery):
    """mAP of (rows, pids, camids) of two sides, as the words of the protocol say it."""
    (asking, pids, cameras), (rows, others, seen) = query, gallery
    precision = []
    for row, pid, camera in zip(asking, pids, cameras, strict=True):
        order = np.argsort(-(unit(rows) @ row), kind="stable")
        right = [others[j] == pid for j in order if others[j] != pid or seen[j] != camera]
        ranks = np.flatnonzero(right) + 1
        precision += [np.mean(np.arange(1, len(ranks) + 1) / ranks)] if len(ranks) else []
    return np.mean(precision)


def without_camera_means(query, gallery):
    """Subtract the mean of the gallery's rows of each camera: both sides have the same two."""
    parts = []
    for rows, pids, camids in (query, gallery):
        means = [gallery[0][gallery[2] == camera].mean(axis=0) for camera in (0, 1)]
        parts.append((unit(rows - np.stack(means)[camids]), pids, camids))
    return parts


def with_two_mutual_neighbours(query, gallery):
    """Add to each row those of its two nearest that have it among theirs; a query is alone."""

    def summed(rows):
        similarity = rows @ rows.T
        np.fill_diagonal(similarity, -np.inf)
        near = np.argsort(-similarity, axis=1)[:, :2]
        mutual = [[j for j in near[i] if i in near[j]] for i in range(len(rows))]
        return np.stack([rows[i] + rows[js].sum(axis=0) for i, js in enumerate(mutual)])

    alone = [summed(np.concatenate([row[None], gallery[0]]))[0] for row in query[0]]
    return (np.stack(alone), *query[1:]), (summed(gallery[0]), *gallery[1:])


def test_what_is_compared_is_the_map_on_held_out_identities(trained):
    """Baseline, camera means and mutual sums written down in full, on the same folds."""
    made = people(0, 20, 8, "train")
    rows = unit(made["train_features"].astype(float))
    pids, camids = made["train_pids"], made["train_camids"]
    by_hand = {"baseline": [], "camera": [], "nfc": [], "camera,nfc": []}
    for split in identity_splits(pids, camids, seed=0):
        sides = [(rows[part], pids[part], camids[part]) for part in (split.query, split.gallery)]
        centred = without_camera_means(*sides)
        found = {"baseline": sides, "camera": centred}
        found["nfc"] = with_two_mutual_neighbours(*sides)
        found["camera,nfc"] = with_two_mutual_neighbours(*centred)
        for name, pair in found.items():
            by_hand[name].append(mean_ap(*pair))
    advice = recommend(trained)
    assert advice.folds == len(by_hand["baseline"]) == 8
    for name, values in by_hand.items():
        assert advice.held_out[name] == pytest.approx(np.mean(values), abs=1e-4)
    assert np.mean(by_hand["camera"]) > np.mean(by_hand["baseline"]) + 0.5


def test_the_best_is_recommended_and_is_the_row_that_stands_alone(trained, tmp_path):
    run = run_with(tmp_path, cameras=False)
    for here, has_nformer in ((trained, True), (run, False)):
        advice, config = recommend(here), EvaluateConfig(refine=("auto",))
        best = max(advice.held_out, key=lambda name: advice.held_out[name])
        assert ",".join(advice.refine) == best
        assert ("nformer" in advice.held_out) == has_nformer
        last = evaluate(here, config=config).results[-1]
        alone = evaluate(here, config=EvaluateConfig(refine=advice.refine)).results[-1]
        assert last.name == alone.name == best
        assert (last.mAP, last.mINP, last.rank1) == (alone.mAP, alone.mINP, alone.rank1)


def test_nformer_is_recommended_where_another_is_hardly_better(tmp_path, monkeypatch):
    run = run_with(tmp_path)
    train_nformer(run, config=NFormerConfig(closed_form=False, neighbours=5, **QUICK), device="cpu")
    held_out = recommend(run).held_out
    best = next(iter(held_out))
    behind = held_out[best] - held_out["nformer"]
    assert behind > 0.01 and recommend(run).refine == tuple(best.split(","))
    for tie, expected in ((behind + 1e-6, "nformer"), (behind - 1e-6, best)):
        monkeypatch.setattr("pipelines.evaluation.recommend.TIE", tie)
        assert ",".join(recommend(run).refine) == expected
