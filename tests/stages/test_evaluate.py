"""Evaluation on made-up embeddings: which rows, what is kept, what is said."""

import json
import subprocess
import sys

import numpy as np
import pytest
from helpers.dense import sharp
from helpers.people import scattered

from pipelines import (
    BadInput,
    Embeddings,
    MissingArtifact,
    Run,
    evaluate,
    load_embeddings,
    load_nformer,
    refine,
    save_embeddings,
    score,
)
from pipelines.artifacts.graph import load_graphs
from pipelines.artifacts.manifest import Manifest
from pipelines.artifacts.nformer import save_nformer
from pipelines.artifacts.ranking import load_average_precision, load_ranking
from pipelines.config import EvaluateConfig
from pipelines.evaluation.plan import Method, asked_for
from pipelines.files import file_digest
from pipelines.gallery import graph as gallery_graph
from pipelines.neighbours import graph as neighbours
from pipelines.nformer.model import NFormer
from pipelines.stages.refine import refine_run


def items(seed, rows, *, cameras=True):
    generator = np.random.default_rng(seed)
    pids = np.arange(rows) % 20
    pids[::29] = -1
    camids = generator.integers(0, 3, rows) if cameras else np.full(rows, -1)
    features = scattered(pids, width=16, noise=1.5, random=generator, centres=7)
    return Embeddings(features, pids, camids)


def made(folder, *, cameras=True, train=True, nformer=False):
    run = Run(folder)
    splits = {"query": items(0, 30, cameras=cameras), "gallery": items(1, 200, cameras=cameras)}
    if train:
        splits["train"] = items(2, 100, cameras=cameras)
    with run.writing(Manifest("embeddings.h5", "import-embeddings", {}, {})) as (path, facts):
        save_embeddings(path, **splits)
        facts["dataset"] = "made up"
    if nformer:
        inputs = {"embeddings.h5": run.digest("embeddings.h5")}
        with run.writing(Manifest("nformer.pt", "train-nformer", {}, inputs)) as (path, _):
            model = sharp(NFormer(dim=16, classes=4, layers=1, neighbours=5))
            save_nformer(path, model)  # one to which its landmarks make a difference
    return run


NONE = EvaluateConfig(refine=("none",))


def test_the_baseline_is_the_cosine_ranking_without_junk(tmp_path):
    run = made(tmp_path)
    result = evaluate(run, config=NONE)
    expected = score(items(0, 30).without_junk(), items(1, 200).without_junk())
    assert [row.name for row in result.results] == ["baseline"]
    assert result.row("baseline").mAP == expected.mean_ap
    assert (result.dataset, result.protocol, result.seed) == ("made up", "isolated", 0)
    assert (result.queries, result.gallery) == (28, 193)


def test_every_row_and_its_protocol(tmp_path):
    result = evaluate(made(tmp_path, nformer=True), config=EvaluateConfig(every=True))
    protocols = {row.name: row.protocol for row in result.results}
    single = ["baseline", "aqe", "nfc", "camera", "whiten", "gcr", "camera,whiten,nfc", "nformer"]
    mixed = [
        f"{side}+{name}"
        for side in ("baseline", "nformer")
        for name in ("kr", "kr-isolated", "cajaccard", "gnn")
    ]
    assert list(protocols) == single + mixed
    assert {protocols[name] for name in single} == {"isolated"}
    for name in mixed:
        assert protocols[name] == ("isolated" if "isolated" in name else "joint")
    assert all(row.extra["peak_rss_mib"] > 0 and row.seconds > 0 for row in result.results)


def test_what_needs_are_not_met_is_left_out_and_said(tmp_path):
    run = made(tmp_path, cameras=False, train=False)
    result = evaluate(run, config=EvaluateConfig(every=True))
    names = [row.name for row in result.results]
    assert names == [
        "baseline",
        "aqe",
        "nfc",
        "gcr",
        "baseline+kr",
        "baseline+kr-isolated",
        "baseline+gnn",
    ]
    assert [note.split()[0] for note in result.notes] == [
        "nformer",
        "camera",
        "whiten",
        "camera,whiten,nfc",
        "baseline+cajaccard",
        "no",
        "Best",
    ]


@pytest.mark.parametrize(
    "config, text",
    [
        (EvaluateConfig(refine=("camera",)), "camera needs the camera of every item"),
        (EvaluateConfig(refine=("whiten",)), "no train split"),
        (EvaluateConfig(refine=("none",), rerank=("cajaccard",)), "cajaccard needs the camera"),
        (
            EvaluateConfig(refine=("magic",)),
            "known are nformer, aqe, nfc, camera, whiten, gcr",
        ),
        (EvaluateConfig(refine=("none",), rerank=("magic",)), "known are kr, kr-isolated"),
        (EvaluateConfig(refine=("none",), search="magic", rerank=("kr",)), "known are auto, exact"),
    ],
)
def test_bad_input(tmp_path, config, text):
    with pytest.raises(BadInput, match=text):
        evaluate(made(tmp_path, cameras=False, train=False), config=config)


def test_nformer_missing_says_how_to_make_it(tmp_path):
    with pytest.raises(MissingArtifact, match="nformer train-nformer"):
        evaluate(made(tmp_path))


def test_rankings_are_in_the_order_that_was_scored(tmp_path):
    run = made(tmp_path)
    result = evaluate(run, config=EvaluateConfig(refine=("nfc",), rerank=("kr",), top=50))
    path = run.artifact("ranking.h5")
    names = ["baseline", "baseline+kr", "nfc", "nfc+kr"]
    assert list(load_average_precision(path)) == [row.name for row in result.results] == names
    gallery = items(1, 200)
    for name in names:
        ranking = load_ranking(path, name)
        first = ranking.match[:, 0].mean()
        assert first == pytest.approx(result.row(name).rank1 * result.valid_queries / 28)
        rows = ranking.index[ranking.match]
        assert (gallery.pids[ranking.index[ranking.index >= 0]] >= 0).all()
        assert len(rows) and ranking.index.shape == (28, 50)
    with pytest.raises(BadInput, match="has no result 'gnn'; it has baseline, baseline"):
        load_ranking(path, "gnn")


def test_graphs_are_kept_and_read_again(tmp_path, monkeypatch):
    run = made(tmp_path)
    first = evaluate(run, config=EvaluateConfig(refine=("nfc",), rerank=("kr",)))
    graphs = load_graphs(run.artifact("graph.h5"))
    assert sorted(graphs) == ["gallery", "joint", "query"]
    assert graphs["joint"].least is not None and graphs["joint"].searched.method == "numpy"

    def refuse(*_, **__):
        raise AssertionError("searched again")

    monkeypatch.setattr("pipelines.neighbours.graph.self_join", refuse)
    again = evaluate(run, config=EvaluateConfig(refine=("nfc",), rerank=(), top=7))
    assert again.row("nfc").mAP == first.row("nfc").mAP


def test_up_to_date_results_are_read_again(tmp_path, recorder):
    run = made(tmp_path)
    first = evaluate(run, config=NONE)
    again = evaluate(run, config=NONE, progress=recorder)
    assert again == first
    assert recorder.messages == [f"{run.path('metrics.json')} is up to date"]
    assert json.loads(run.path("metrics.json").read_text())["results"][0]["name"] == "baseline"


def test_other_settings_replace_the_results(tmp_path):
    run = made(tmp_path)
    evaluate(run, config=NONE)
    assert len(evaluate(run, config=EvaluateConfig(refine=("aqe",))).results) == 2


def draws_of_seeds(run, seeds):
    """Refine with each seed on its own: the draws that an evaluation makes, and nothing of it."""
    model = load_nformer(run.path("nformer.pt"))
    pair = items(0, 30).without_junk(), items(1, 200).without_junk()
    return [refine(model, *pair, seed=seed) for seed in seeds]


def test_draws_of_the_landmarks_have_a_mean_and_a_deviation(tmp_path):
    run = made(tmp_path, nformer=True)
    row = evaluate(run, config=EvaluateConfig(seed=4, landmark_draws=3)).row("nformer")
    scores = [score(*draw) for draw in draws_of_seeds(run, (4, 5, 6))]
    figures = {
        "mAP": [one.mean_ap for one in scores],
        "mINP": [one.mean_inp for one in scores],
        "rank1": [one.rank(1) for one in scores],
        "rank5": [one.rank(5) for one in scores],
        "rank10": [one.rank(10) for one in scores],
    }
    assert len(set(figures["mAP"])) == 3
    assert set(row.std) == set(figures)
    for name, values in figures.items():
        mean = sum(values) / 3
        assert getattr(row, name) == pytest.approx(mean, abs=1e-6)
        variance = sum((value - mean) ** 2 for value in values) / 3
        assert row.std[name] == pytest.approx(variance**0.5, abs=1e-6)


def test_averaged_draws_are_scored_as_one(tmp_path):
    run = made(tmp_path, nformer=True)
    config = EvaluateConfig(seed=4, landmark_draws=3, average_draws=True)
    result = evaluate(run, config=config)
    draws = draws_of_seeds(run, (4, 5, 6))
    means = []
    for side, split in enumerate(("query", "gallery")):
        rows = np.stack([draw[side].features for draw in draws]).astype(np.float64).sum(axis=0) / 3
        means.append(draws[0][side].with_features(rows))
        assert load_embeddings(run.path("refined.h5"), split).features == pytest.approx(
            rows, abs=1e-6
        )
    assert result.row("nformer").mAP == pytest.approx(score(*means).mean_ap, abs=1e-6)
    assert result.row("nformer").std == result.row("baseline").std == {}


def test_open_set_and_single_shot_figures(tmp_path):
    config = EvaluateConfig(refine=("none",), open_set=True, single_shot=5)
    extra = evaluate(made(tmp_path), config=config).results[0].extra
    assert set(extra["tpr_at_fpr"]) == {"0.001", "0.01"}
    assert set(extra["single_shot"]) == {"rank1", "rank5", "rank10"}


def test_names_of_methods():
    chained = EvaluateConfig(refine=("nformer", "nfc"), rerank=("kr",))
    rows = [method.name for method in asked_for(chained, has_nformer=True)]
    assert rows == ["baseline", "baseline+kr", "nformer,nfc", "nformer,nfc+kr"]
    twice = EvaluateConfig(refine=(), rerank=("kr", "kr"))
    rows = [method.name for method in asked_for(twice, has_nformer=False)]
    assert rows == ["baseline", "baseline+kr"]


@pytest.mark.parametrize(
    "method, asked, protocol",
    [
        (Method(), "isolated", "isolated"),
        (Method(("nfc",)), "joint", "joint"),
        (Method((), "kr"), "isolated", "joint"),
        (Method((), "kr-isolated"), "joint", "isolated"),
        (Method(("nfc",), "kr-isolated"), "joint", "joint"),
    ],
)
def test_a_row_says_whether_queries_mixed_in_it(method, asked, protocol):
    assert method.protocol(asked) == protocol


@pytest.mark.parametrize("protocol", ["isolated", "joint"])
def test_nformer_reads_the_graph_that_an_evaluation_kept(tmp_path, monkeypatch, protocol):
    run, config = made(tmp_path, nformer=True), EvaluateConfig(protocol=protocol)
    first = evaluate(run, config=config)
    assert set(load_graphs(run.path("graph.h5"))) == (
        {"joint"} if protocol == "joint" else {"gallery", "query"}
    )
    plain = refine(
        load_nformer(run.path("nformer.pt")),
        items(0, 30).without_junk(),
        items(1, 200).without_junk(),
        protocol=protocol,
    )
    for split, expected in zip(("query", "gallery"), plain, strict=True):
        kept = load_embeddings(run.path("refined.h5"), split).features
        assert kept == pytest.approx(expected.features, abs=1e-6)

    def nothing_is_searched(*_, **__):
        raise AssertionError("the graph is there")

    monkeypatch.setattr(gallery_graph, "nearest_neighbours", nothing_is_searched)
    monkeypatch.setattr(gallery_graph, "search", nothing_is_searched)
    monkeypatch.setattr(neighbours, "searched", nothing_is_searched)
    monkeypatch.setattr(neighbours, "self_join", nothing_is_searched)
    again = evaluate(run, config=config, overwrite=True)
    assert again.row("nformer").mAP == first.row("nformer").mAP


def test_the_landmarks_of_every_draw_are_recorded(tmp_path):
    run = made(tmp_path, nformer=True)
    evaluate(run, config=EvaluateConfig(landmark_draws=3))
    rows = np.array(run.facts("refined.h5")["landmark_rows"])
    assert rows.shape == (3, 1, 5)  # draws, layers, landmarks
    assert rows.min() >= 0 and rows.max() < 193  # rows of the gallery without junk
    assert len({tuple(draw.ravel()) for draw in rows}) == 3


def test_what_is_refined_already_is_read_not_refined_again(tmp_path, monkeypatch):
    run = made(tmp_path, nformer=True)
    first = evaluate(run)
    took = run.facts("refined.h5")["seconds"]

    def refuse(*_, **__):
        raise AssertionError("refined again")

    monkeypatch.setattr("pipelines.gallery.refinement.refine_draws", refuse)
    again = evaluate(run, config=EvaluateConfig(rerank=("kr",)))
    assert [row.name for row in again.results] == [
        "baseline",
        "baseline+kr",
        "nformer",
        "nformer+kr",
    ]
    plain = [(row.mAP, row.mINP, row.rank1) for row in (first.row("nformer"), again.row("nformer"))]
    assert plain[0] == plain[1]
    assert again.row("nformer").seconds > took
    assert again.row("nformer").extra["camera_aware"] is False
    with pytest.raises(AssertionError, match="refined again"):
        evaluate(run, config=EvaluateConfig(seed=1))


def test_refine_and_evaluate_write_the_same_refined_h5(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = made(tmp_path / "a", nformer=True), made(tmp_path / "b", nformer=True)
    refine_run(one)
    evaluate(other)
    assert file_digest(one.path("refined.h5")) == file_digest(other.path("refined.h5"))
    config = one.manifest("refined.h5").config
    assert config == other.manifest("refined.h5").config


def test_without_nformer_torch_is_not_loaded(tmp_path):
    run = made(tmp_path)
    code = (
        "import sys\n"
        "from pipelines import Run, evaluate\n"
        "from pipelines.config import EvaluateConfig\n"
        "config = EvaluateConfig(refine=('nfc',), rerank=('kr',))\n"
        f"evaluate(Run({str(run.folder)!r}), config=config, device='cpu')\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
