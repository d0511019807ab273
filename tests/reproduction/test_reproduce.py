"""`nformer reproduce`: one object everywhere, nothing made twice, refusals, resumption."""

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers.people import scattered
from typer.testing import CliRunner

import nformer_cli
from nformer_cli.app import app
from pipelines import BadInput, Embeddings, MissingArtifact, Run, evaluate, reproduce
from pipelines.artifacts.embeddings import load_embeddings, save_embeddings
from pipelines.artifacts.manifest import Manifest
from pipelines.config import EvaluateConfig, NFormerConfig, as_table
from pipelines.reporting.paper import printed
from pipelines.reporting.tables_and_figures import (
    NAMES,
    file_of,
    load_table_or_figure,
    tables_and_figures_in,
)
from pipelines.reproduction import reproduce as module
from pipelines.reproduction.experiment import Experiment, learnt_from
from pipelines.reproduction.learning_curve import _pays
from pipelines.reproduction.measured import MeasuredFigures
from pipelines.reproduction.plan import Training, _gpu_seconds
from pipelines.reproduction.rows import distinct_labels
from pipelines.reproduction.variants import (
    NEEDED,
    NFORMER,
    ReproduceConfig,
    Variant,
    chosen,
    needed_by,
)
from pipelines.stages.compare import compare
from pipelines.stages.report import build_report, report, to_json

DIM = 8
MANUAL = Path(nformer_cli.__file__).parent / "manual"
OPTIONS = ["--seeds", "2", "--draws", "2", "--steps", "2"]


def people(first, count, each, seed, prefix):
    pids, random = np.repeat(np.arange(first, first + count), each), np.random.default_rng(seed)
    features = scattered(pids, width=DIM, noise=0.8, random=random, centres=9)
    names = [f"{prefix}/{pid}_{row}.jpg" for row, pid in enumerate(pids)]
    return Embeddings(features, pids, np.arange(len(pids)) % 3, names)


def made(folder, *, train=True, seed=0, first=30, each=7, dataset="made up"):
    run = Run(folder)
    splits = {
        "query": people(first, 12, 2, seed + 1, "query"),
        "gallery": people(first, 12, each, seed + 2, "gallery"),
    }
    if train:
        splits["train"] = people(1, 16, 6, seed + 3, "train")
    with run.writing(Manifest("embeddings.h5", "import-embeddings", {}, {})) as (path, facts):
        save_embeddings(path, **splits)
        facts["dataset"] = dataset
    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a run of which everything was made, and what the command said."""
    folder = tmp_path_factory.mktemp("reproduce")
    run, other = made(folder / "one"), made(folder / "two", seed=50)
    evaluate(run, config=EvaluateConfig(refine=("none",)))
    runs = ["--run", str(run.folder), "--run", str(other.folder)]
    arguments = ["reproduce", "all", *runs, *OPTIONS]
    told = CliRunner().invoke(app, arguments, env={"COLUMNS": "400"})
    assert told.exit_code == 0, told.output
    made_then = {file: file.stat().st_mtime_ns for file in (run.folder / "reproduce").rglob("*.*")}
    again = CliRunner().invoke(app, [*arguments, "--json"])
    assert again.exit_code == 0, again.output
    return Whole(run, other, told, again, made_then)


class Whole(NamedTuple):
    """A run of which everything was made, a second one, what the command said, and again."""

    run: Run
    other: Run
    told: Any
    again: Any
    made: dict


def test_the_numbers_are_the_same_everywhere(whole):
    run, shown = whole.run, whole.told
    objects = json.loads(whole.again.stdout)["exhibits"]
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    in_report = json.loads(to_json(build_report(run)))["exhibits"]
    items = tables_and_figures_in(run)
    assert [item.name for item in items] == [one["name"] for one in objects]
    for item, as_json, reported in zip(items, objects, in_report, strict=True):
        text = (run.folder / "reproduce" / f"{item.name}.csv").read_text()
        for row, line, one in zip(
            item.rows, csv.DictReader(text.splitlines()), as_json["rows"], strict=True
        ):
            assert dict(row) == one
            for column in item.columns:
                value = row.get(column.key)
                if isinstance(value, float):
                    assert float(line[column.key]) == value
                    if len(item.rows) <= 40:
                        assert column.show(value) in shown.stdout
                        assert f">{column.show(value)}</td>" in page
        assert json.loads(item.to_json()) == as_json == json.loads(json.dumps(reported))
        assert item.title in shown.stdout
        assert item.title in page


def test_every_name_has_its_files_and_its_place_in_the_report(whole):
    run = whole.run
    names = [item.name for item in tables_and_figures_in(run)]
    papers = [name for name in NAMES if name != "learning_curve"]
    assert names == [name for name in papers if name != "figure5" or "figure5" in names]
    for name in names:
        for ending in ("csv", "json", "svg", "png"):
            assert (run.folder / "reproduce" / f"{name}.{ending}").stat().st_size > 100
        svg = (run.folder / "reproduce" / f"{name}.svg").read_text()
        assert svg.startswith("<svg") and "currentColor" not in svg
        assert f'id="{name}"' in (run.folder / "report.html").read_text()


def test_the_plan_comes_first_and_nothing_is_made_twice(whole):
    told, again = whole.told, whole.again
    trainings = len(needed_by(NEEDED)) * 2 + len(needed_by(["table2", "table4"])) * 2
    assert told.stderr.index("plan: table1") < told.stderr.index("train variants")
    batch = "of 96 embeddings (train-nformer's defaults), 0 cached; about"
    assert f"{trainings} trainings of 2 steps {batch}" in told.stderr
    papers = "on Market-1501, with the paper's 160 epochs there (1,010 steps of 2,048 embeddings;"
    assert papers in told.stderr
    assert f"nothing to train: all {trainings} trainings are cached" in again.stderr
    assert len(whole.made) > 2 * len(needed_by(NEEDED))
    assert {file: file.stat().st_mtime_ns for file in whole.made} == whole.made


def test_notes_stand_below_their_table_and_are_said_once(whole):
    items, shown = tables_and_figures_in(whole.run), " ".join(whole.told.stdout.split())
    titles = [shown.index(item.title) for item in items] + [len(shown)]
    assert titles == sorted(titles)
    said = set()
    for item, begin, end in zip(items, titles[:-1], titles[1:], strict=True):
        for note in item.notes:
            assert shown.count(note) == 1
            assert note in said or begin < shown.index(note) < end
        said.update(item.notes)
    assert len(said) < sum(len(item.notes) for item in items)


def test_controls_stand_in_every_table(whole):
    run = whole.run
    tables = {name: load_table_or_figure(run.path(file_of(name))) for name in NAMES[:4]}
    for name in ("table1", "table2"):
        methods = [row["method"] for row in tables[name].rows]
        assert any(method == "control: NFormer, k = 1" for method in methods)
        assert any(method.startswith("control: training-free, ") for method in methods)
    for item in tables.values():
        keys = {column.key for column in item.columns}
        assert {"mAP_over_seeds", "mAP_over_draws"} <= keys
    for name in ("table3", "table4"):
        assert {"alone_mAP", "free_mAP"} <= {column.key for column in tables[name].columns}


def test_means_and_deviations_are_those_of_the_cells(whole):
    run = whole.run
    measured = MeasuredFigures(
        run.path("reproduce/cells.json"), digest=run.digest("embeddings.h5")
    ).known
    name = Variant().name
    each = np.array(
        [
            [
                figures["mAP"]
                for key, figures in sorted(measured.items())
                if key.startswith(f"{name} {seed} ") and key.endswith("| 0 | 0 | ")
            ]
            for seed in (0, 1)
        ]
    )
    assert each.shape == (2, 2)  # trainings, draws
    row = load_table_or_figure(run.path(file_of("table1"))).rows[2]
    assert row["mAP"] == pytest.approx(each.mean())
    assert row["mAP_over_seeds"] == pytest.approx(each.mean(axis=1).std())
    assert row["mAP_over_draws"] == pytest.approx(each.std(axis=1).mean())


def test_two_runs_have_rows_of_their_own(whole):
    run, other = whole.run, whole.other
    table = load_table_or_figure(run.path(file_of("table4")))
    assert [row["run"] for row in table.rows[:2]] == [str(run.folder), str(other.folder)]
    assert [row["backbone"] for row in table.rows[-4:]] == [
        *("Res50", "Res50+NFormer", "ABDNet", "ABDNet+NFormer")
    ]
    assert len(table.rows) == 2 + 20
    table = load_table_or_figure(run.path(file_of("table2")))
    ours = {row["run"] for row in table.rows[: -table.paper_rows]}
    assert ours == {str(run.folder), str(other.folder)}
    assert not (other.folder / "reproduce" / "table1.json").exists()


def test_labels_tell_runs_of_the_same_backbone_apart(whole):
    table = load_table_or_figure(whole.run.path(file_of("table2")))
    labels = [row["label"] for row in table.rows[: -table.paper_rows]]
    assert len(set(labels)) == len(labels)
    assert "imported (two): NFormer" in labels
    text = load_table_or_figure(whole.run.path(file_of("table4"))).text
    assert "made up, imported (two): mAP" in text
    experiments = [
        Experiment(whole.run, ReproduceConfig()),
        Experiment(whole.run, ReproduceConfig()),
    ]
    assert distinct_labels(["a", "a"], experiments) == ["a (run 1)", "a (run 2)"]
    assert distinct_labels(["a", "b"], experiments) == ["a", "b"]


def test_a_data_sets_name_is_shown_as_it_is(tmp_path):
    nasty = r"[/red] $\foo$ <b>"
    run = made(tmp_path, dataset=nasty)
    evaluate(run, config=EvaluateConfig(refine=("none",)))
    arguments = ["reproduce", "table4", "--run", str(tmp_path), "--seeds", "1", "--steps", "1"]
    told = CliRunner().invoke(app, arguments, env={"COLUMNS": "400"})
    assert told.exit_code == 0, told.output
    assert f"{nasty}, imported: mAP" in told.stdout
    assert r"[/red] $\foo$ &lt;b&gt;" in (tmp_path / "reproduce" / "table4.svg").read_text()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;, imported" in page and "<b>" not in page


def test_another_set_in_a_layout_is_not_called_by_the_published_one(tmp_path):
    run = made(tmp_path / "people", dataset="market1501")
    with run.writing(Manifest("embeddings.h5", "import-embeddings", {"n": 1}, {})) as (path, facts):
        shutil.copy(run.path("embeddings.h5"), path)
        facts.update(dataset="market1501", images={"query": 24, "gallery": 84}, root="data/people")
    (table4,) = reproduce(run, "table4", seeds=1, draws=1, steps=1)
    assert table4.rows[0]["dataset"] == "people (Market-1501's layout)"
    assert table4.text.startswith("people (Market-1501's layout), imported: mAP")


def test_what_is_damaged_is_made_again(tmp_path):
    run = made(tmp_path)
    (before,) = reproduce(run, "table4", seeds=1, draws=1, steps=1)
    variants = sorted((tmp_path / "reproduce" / "variants").glob("*.pt"))
    content = variants[0].read_bytes()
    variants[0].write_bytes(content[:100])
    run.path(file_of("table4")).write_text("{}")
    (after,) = reproduce(Run(tmp_path), "table4", seeds=1, draws=1, steps=1)
    assert variants[0].read_bytes() == content
    kept = load_table_or_figure(Run(tmp_path).artifact(file_of("table4")))
    assert kept.to_json() == before.to_json() == after.to_json()


def test_identities_may_start_at_0_and_distractors_are_nobody(tmp_path):
    names = ["table3", "figure4"]
    table3, figure4 = reproduce(made(tmp_path / "a", first=0), names, seeds=1, draws=1, steps=1)
    assert [row["images"] for row in table3.rows] == [7, 7, 7, 5]
    assert [row["identities"] for row in figure4.rows] == [4, 5, 6, 8, 10, 12]
    blank = made(tmp_path / "b")
    query, gallery = (
        load_embeddings(blank.path("embeddings.h5"), split) for split in ("query", "gallery")
    )
    experiment = Experiment(blank, ReproduceConfig())
    pids = np.where(gallery.pids == 30, 0, gallery.pids)
    assert experiment.of_people(pids).sum() == 11 * 7 and 30 in query.pids


def test_figure5_is_left_out_where_it_has_nobody_to_show(tmp_path, recorder):
    run = made(tmp_path, each=3)
    experiment = Experiment(run, ReproduceConfig())

    def check():
        module.sampled(experiment)

    assert module._without_figure5(["table1", "figure5"], check, progress=recorder) == ["table1"]
    assert recorder.warnings == [
        "left out: figure5 samples identities with 4 gallery images or more, and there are 0 here"
    ]
    with pytest.raises(BadInput, match="4 gallery images or more"):
        module._without_figure5(["figure5"], check, progress=recorder)


def test_the_papers_figures_of_other_data_sets_are_named_as_such(tmp_path):
    random = np.random.default_rng(0)
    pids = np.repeat(np.arange(1, 701), 2)
    rows = [random.normal(size=(1400, DIM)) for _ in range(2)]
    run = Run(tmp_path)
    with run.writing(Manifest("embeddings.h5", "import-embeddings", {}, {})) as (path, facts):
        save_embeddings(
            path,
            train=people(1, 6, 4, 3, "train"),
            query=Embeddings(rows[0], pids, np.ones(1400)),
            gallery=Embeddings(rows[1], pids, np.full(1400, 2)),
        )
        facts["dataset"] = "cuhk03-detected"
    table2, table4 = reproduce(run, ["table2", "table4"], seeds=1, draws=1, steps=1)
    row = next(row for row in table4.rows if row["backbone"] == "Res50+NFormer")
    assert row["paper_cuhk03-detected_mAP"] == 0.747 and row["paper_msmt17_rank1"] == 0.773
    assert "CUHK03 detected: MHN (71.7, 76.5)" in table4.notes[0]
    for table in (table2, table4):  # alone, each says what contradicts it
        assert any("76.1 in Tables 2 and 4, 74.1 in Table 1" in note for note in table.notes)
    assert "ResNet-50; backbone here: imported" in table4.notes[1]
    # Table 2 has no CUHK03: what it has stands there under its data sets' names.
    beside = {line["method"]: line for line in table2.rows[: -table2.paper_rows]}
    assert beside["NFormer + KR"]["paper_market1501_mAP"] == 0.93
    assert "paper_market1501_mAP" not in beside["KR"]  # which the paper does not have


def test_the_papers_own_rows_are_a_table_of_their_own_and_no_column_there_is_empty(whole):
    table2, table4 = (
        load_table_or_figure(whole.run.path(file_of(name))) for name in ("table2", "table4")
    )
    ours, theirs = table2.parts()
    assert [(row["backbone"], row["method"]) for row in theirs.rows] == [
        *(("resnet50", "none"), ("resnet50", "NFormer"), ("resnet50", "NFormer + KR")),
        *(("abdnet", "none"), ("abdnet", "NFormer"), ("abdnet", "NFormer + KR")),
    ]
    figures = [[row[f"paper_{name}"] for name in ("market1501_rank1", "market1501_mAP",
               "dukemtmcreid_rank1", "dukemtmcreid_mAP")] for row in theirs.rows]  # fmt: skip
    assert figures[-1] == [0.957, 0.941, 0.911, 0.894] and figures[3][3] == 0.786
    assert ours.title == table2.title and theirs.title == "Table 2 of the paper, all rows"
    assert len(ours.rows) + 6 == len(table2.rows)
    ours, theirs = table4.parts()
    assert [column.title for column in theirs.columns[:3]] == ["run", "backbone", "rank-1"]
    assert len(theirs.columns) == 2 + 5 * 2 and len(theirs.rows) == 20
    assert not any(column.group for column in ours.columns)
    page = (whole.run.folder / "report.html").read_text(encoding="utf-8")
    for told in (page, whole.told.stdout):
        assert "Table 4 of the paper, all rows" in told


def of_market(folder, dataset="market1501", *, queries=3368):
    """Return a run with as many queries as one of the paper's data sets, of that name."""
    random, run = np.random.default_rng(0), Run(folder)
    pids = np.arange(queries) % 700
    rows = random.normal(size=(2, queries, DIM))
    with run.writing(Manifest("embeddings.h5", "import-embeddings", {}, {})) as (path, facts):
        save_embeddings(
            path,
            train=people(1, 6, 4, 3, "train"),
            query=Embeddings(rows[0], pids, np.ones(queries)),
            gallery=Embeddings(rows[1], pids, np.full(queries, 2)),
        )
        facts["dataset"] = dataset
    return run


def test_the_papers_figures_stand_beside_ours_on_its_own_data_set(tmp_path):
    run = of_market(tmp_path)
    wanted = ["table1", "table3", "figure6", "figure7"]
    table1, table3, figure6, figure7 = reproduce(run, wanted, seeds=1, draws=1, steps=1)
    assert [line.get("paper_mAP") for line in table1.rows[:3]] == [0.835, 0.851, 0.911]
    assert [line.get("paper_gflops") for line in table1.rows[:3]] == [None, 0.088, 0.0025]
    headings = [column.heading for column in table1.columns]
    assert headings[3:7] == ["paper: rank-1", "paper: mAP", "GFLOPs a person",
                             "paper: GFLOPs a person"]  # fmt: skip
    assert headings[-2:] == ["± trainings", "± draws"]
    assert [line["paper_gain"] for line in table3.rows] == [0.073, 0.067, 0.06, 0.023]
    assert [line["paper_baseline_mAP"] for line in table3.rows] == [0.837, 0.839, 0.841, 0.855]
    five = next(line for line in figure6.rows if line.get("landmarks") == 5)
    assert (five["paper_mAP"], five["paper_share"]) == (0.911, 1.95)
    assert five["share"] == 100 * 5 / DIM
    exact = next(line for line in figure6.rows if line["method"] == "exact A, RNS")
    assert exact["paper_gain"] == 0.003 and exact["gain"] == exact["mAP"] - five["mAP"]
    twenty = next(line for line in figure7.rows if line["k"] == 20)
    assert (twenty["paper_mAP"], twenty["paper_gain"]) == (0.911, 0.073)
    assert "RNS is above RNS-Mk" in figure7.notes[0]
    assert figure7.plots[0].levels["paper: RNS, k = 20"] == pytest.approx(91.1)
    assert figure6.plots[1].levels["paper: l = 5"] == pytest.approx(91.1)
    evaluate(run, config=EvaluateConfig(refine=("none",)))
    page = report(run).read_text(encoding="utf-8")
    assert "paper, resnet50: NFormer + KR" in page and "93.0" in page
    told = CliRunner().invoke(app, ["compare", str(tmp_path)], env={"COLUMNS": "80"})
    assert told.exit_code == 0 and "paper, resnet50: backbone" in told.stdout
    assert "83.5" in told.stdout


def test_that_dukes_figures_contradict_each_other_is_said_with_them(tmp_path):
    run = of_market(tmp_path, "dukemtmcreid", queries=2228)
    evaluate(run, config=EvaluateConfig(refine=("none",)))
    said = "Res50 on DukeMTMC-reID has mAP 74.1 in Table 1, 76.1 in Tables 2 and 4."
    assert report(run).read_text(encoding="utf-8").count(said) == 1
    found = compare([run])
    assert found.paper[0][1:] == pytest.approx((0.861, 0.761))
    assert [note for note in found.notes if said in note] == list(found.notes)[-1:]
    assert said not in " ".join(compare([of_evaluated_market(tmp_path / "market")]).notes)


def of_evaluated_market(folder):
    run = of_market(folder)
    evaluate(run, config=EvaluateConfig(refine=("none",)))
    return run


def test_a_gpus_time_is_of_the_papers_own_number_of_steps(tmp_path):
    experiment = Experiment(made(tmp_path), ReproduceConfig(steps=2))
    one = Training(experiment, Variant(neighbours=1), 0)
    # 1,010 steps and a test of so few operations that each takes the least there is
    assert _gpu_seconds([one], ["table1"]) == pytest.approx(1011 * 5e-3)


@pytest.mark.parametrize(
    ("gain", "trainings", "told"),
    [
        (0.011, 3, "by more than twice its standard error from 10 steps on"),
        (0.009, 3, "at no point"),
        (0.009, 1, "above the backbone from 10 steps on"),
    ],
)
def test_a_gain_counts_above_twice_its_standard_error(gain, trainings, told):
    deviation = 0.005 * np.sqrt(2) if trainings > 1 else None  # of 3: twice the error is 0.01
    row = {"steps": 10, "gain": gain, "mAP_over_seeds": deviation}
    assert told in _pays([row], "steps", trainings=trainings)


def test_every_value_that_the_paper_prints_is_in_our_file():
    """`../shared/paper/values.toml` was checked twice against the paper's text."""
    path = Path(os.environ.get("NFORMER_SHARED", "../shared")) / "paper" / "values.toml"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    two, checked = ("market1501", "dukemtmcreid"), 0

    def equal(ours, theirs):
        nonlocal checked
        assert ours == theirs
        checked += len(theirs) if isinstance(theirs, list) else 1

    def pair(table, dataset, row):
        found = printed(table)[dataset].get(row, {})
        return [found[name] for name in ("rank1", "mAP") if name in found]

    for dataset in two:
        for theirs, ours in zip(("res50", "transformer", "nformer"),
                                ("backbone", "transformer", "NFormer"), strict=True):  # fmt: skip
            equal(pair("table1", dataset, ours), values["table1"][theirs][dataset])
        for theirs, ours in (("res50", "resnet50"), ("abdnet", "abdnet")):
            for end, method in (("", "none"), ("_nformer", "NFormer"),
                                ("_nformer_kr", "NFormer + KR")):  # fmt: skip
                found = pair("table2", dataset, f"{ours}: {method}")
                equal(found, values["table2"][theirs + end][dataset])
        theirs = values["table3"][dataset]
        levels = [printed("table3")[dataset][str(n)] for n in values["table3"]["n_per_p"]]
        for figure, name in (("baseline_mAP", "res50"), ("mAP", "nformer"), ("gain", "delta")):
            equal([level[figure] for level in levels], theirs[name])
        six, seven = printed("figure6")[dataset], printed("figure7")[dataset]["20"]
        equal(six["5"]["mAP"], values["figure6"]["b"]["nformer_map"][dataset])
        equal(six["exact"]["gain"], values["figure6"]["b"]["exact_affinity_above_by"][dataset])
        equal(seven["mAP"], values["figure7"]["best_map"][dataset])
        equal(seven["gain"], values["figure7"]["rns_over_softmax_map"][dataset])
    for theirs, ours in (("transformer", "transformer"), ("nformer", "NFormer")):
        equal(printed("table1")["flops"][ours], values["table1"][theirs]["gflops"])
    share = values["figure6"]["laa_share_of_affinity_computation_percent"]
    equal(printed("figure6")["share"], share)
    equal(printed("figure7")["best_k"], values["figure7"]["best_k"])
    datasets = values["table4"].pop("columns")
    table4 = {name: row for name, row in values["table4"].items() if "v" in row}
    for name, row in table4.items():
        for dataset, theirs in zip(datasets, row["v"], strict=True):
            equal(pair("table4", dataset, name), theirs)
        equal(printed("table4")["venues"].get(name), row.get("venue"))
        equal(name in printed("table4")["reproduced"], row.get("reproduced", False))
    assert len(table4) == 20 and checked == 262


def test_the_differences_that_the_paper_states_are_those_of_its_figures():
    path = Path(os.environ.get("NFORMER_SHARED", "../shared")) / "paper" / "values.toml"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    values = tomllib.loads(path.read_text(encoding="utf-8"))

    def less(table, dataset, rows, figures=("rank1", "mAP")):
        upper, lower = (printed(table)[dataset][row] for row in rows)
        return [round(upper[name] - lower[name], 1) for name in figures]

    for dataset in ("market1501", "dukemtmcreid"):
        one, two = values["table1"]["claims"], values["table2"]["claims"]
        rows = ("transformer", "backbone")
        assert less("table1", dataset, rows) == one["transformer_over_res50"][dataset]
        rows = ("NFormer", "backbone")
        assert less("table1", dataset, rows) == one["nformer_over_res50"][dataset]
        rows = ("abdnet: NFormer + KR", "resnet50: NFormer")
        assert less("table2", dataset, rows) == two["over_res50_nformer"][dataset]
    fewer, costs = values["table1"]["claims"]["orders_of_magnitude_fewer"], printed("table1")
    exact = math.log10(costs["flops"]["transformer"] / costs["flops"]["NFormer"])
    assert fewer == math.floor(10 * exact) / 10
    page = (MANUAL / "counting.md").read_text(encoding="utf-8")
    assert f"{fewer} orders of magnitude" in page
    assert f"log₁₀(0.088 / 0.0025) = {exact:.2f}" in page
    claims, mean = values["table4"]["claims"], ("mAP",)
    ours, better, both = "Res50+NFormer", "ABDNet+NFormer", ("rank1", "mAP")
    market, duke, msmt = "market1501", "dukemtmcreid", "msmt17"
    for name, dataset, rows, figures in (
        ("market_res50_nformer_over_isp_map", market, (ours, "ISP"), mean),
        ("market_abdnet_over_res50_map_top1", market, (better, ours), both[::-1]),
        ("market_abdnet_nformer_over_isp_map", market, (better, "ISP"), mean),
        ("duke_res50_nformer_over_isp_map", duke, (ours, "ISP"), mean),
        ("duke_abdnet_nformer_over_isp_top1_map", duke, (better, "ISP"), both),
        ("msmt_res50_nformer_over_rga_map", msmt, (ours, "RGA-SC"), mean),
        ("msmt_abdnet_nformer_over_rga_top1_map", msmt, (better, "RGA-SC"), both),
        ("msmt_over_res50_top1_map", msmt, (ours, "Res50"), both),
        ("cuhk03_labelled_over_res50_top1_map", "cuhk03-labelled", (ours, "Res50"), both),
        ("cuhk03_detected_over_res50_top1_map", "cuhk03-detected", (ours, "Res50"), both),
    ):
        claimed = claims.pop(name)
        claimed = claimed if isinstance(claimed, list) else [claimed]
        assert less("table4", dataset, rows, figures) == claimed, name
    rivals = claims.pop("market_nformer_over_stf_gcs_map")
    assert [less("table4", market, (ours, rival), mean)[0] for rival in ("STF", "GCS")] == rivals
    assert list(claims) == ["gain_larger_in"]


def test_what_is_of_other_embeddings_is_not_reported(whole, tmp_path):
    run = made(tmp_path / "run")
    reproduce(run, "table4", seeds=1, draws=1, steps=1)
    assert [item.name for item in tables_and_figures_in(run)] == ["table4"]
    changed = made(tmp_path / "run", seed=7)
    evaluate(changed, config=EvaluateConfig(refine=("none",)))
    assert tables_and_figures_in(changed) == []
    assert 'id="evidence"' not in report(changed).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["table9"], "table9: no table or figure of the paper; known are table1, table2"),
        ([], "name what to make: table1"),
    ],
)
def test_unknown_names_are_refused(tmp_path, names, message):
    with pytest.raises(BadInput, match=message):
        reproduce(made(tmp_path), names)


def test_bad_runs_are_refused_in_one_line(tmp_path):
    with pytest.raises(MissingArtifact, match="make it with: nformer extract"):
        reproduce(tmp_path / "nothing", "table1")
    blind = made(tmp_path / "blind", train=False)
    with pytest.raises(
        BadInput, match="no train split.*nformer evaluate --all --run .* shows what trains"
    ):
        reproduce(blind, "all")
    run = made(tmp_path / "run")
    with pytest.raises(BadInput, match="names the same folder twice"):
        reproduce([run, run.folder], "table4")
    done = subprocess.run(
        [sys.executable, "-m", "nformer_cli.main", "reproduce", "table9", "--run", str(run.folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1


def test_names_come_in_the_papers_order_and_once():
    assert chosen(["figure7", "table1", "figure7"]) == ["table1", "figure7"]
    assert list(NAMES) == list(NEEDED)
    assert [*chosen(["table2", "all"]), "learning_curve"] == list(NAMES)
    assert len(needed_by(NEEDED)) == len(set(needed_by(NEEDED))) == 16


def test_variants_are_trained_as_the_runs_own_nformer_or_by_a_recipe(tmp_path):
    run = made(tmp_path / "run")
    assert Experiment(run, ReproduceConfig()).trained_by == replace(
        NFormerConfig().settled(), neighbours=0, closed_form=False, held_out=0.0, eval_every=50
    )
    own = NFormerConfig(lr=1e-3, heads=4, steps=40, batch=64, neighbours=3)
    with run.writing(Manifest("nformer.pt", "train-nformer", as_table(own), {})) as (path, _):
        path.write_bytes(b"")
    experiment = Experiment(run, ReproduceConfig())
    assert experiment.recipe == "as this run's nformer.pt"
    trained = NFORMER.config(experiment.trained_by, 7)
    assert (trained.lr, trained.heads, trained.steps, trained.batch) == (1e-3, 4, 40, 64)
    assert (trained.neighbours, trained.warmup_steps, trained.seed) == (20, 10, 7)
    assert not trained.closed_form and trained.held_out == 0.0
    paper = Experiment(run, ReproduceConfig(recipe="paper"))
    assert (paper.trained_by.steps, paper.trained_by.optimizer) == (1010, "sgd")
    assert Experiment(run, ReproduceConfig(recipe="paper", steps=9)).trained_by.steps == 9
    keys = {one.key_of(NFORMER, 0) for one in (experiment, paper)}
    assert len(keys) == 2  # what was trained otherwise is not taken for this


def test_an_unknown_recipe_is_refused_before_anything(tmp_path):
    run = made(tmp_path / "run")
    arguments = ["reproduce", "table1", "--run", str(run.folder), "--recipe", "papr"]
    told = CliRunner().invoke(app, arguments)
    assert isinstance(told.exception, BadInput) and "known are demo" in str(told.exception)
    assert not run.path("reproduce").exists()


def test_without_tsne_the_others_are_made(recorder):
    def absent():
        raise module.CannotShow("figure5 needs scikit-learn")

    assert module._without_figure5(["table1", "figure5"], absent, progress=recorder) == ["table1"]
    assert recorder.warnings == ["left out: figure5 needs scikit-learn"]
    with pytest.raises(BadInput, match="scikit-learn"):
        module._without_figure5(["figure5"], absent, progress=recorder)


def test_an_interrupted_reproduction_leaves_whole_files_and_goes_on(tmp_path):
    run = made(tmp_path / "run")
    command = [sys.executable, "-m", "nformer_cli.main", "reproduce", "figure7"]
    process = subprocess.Popen(
        [*command, "--run", str(run.folder), "--seeds", "9", "--steps", "30"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        # a shell's background jobs, and all that they start, ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    variants = run.folder / "reproduce" / "variants"
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if variants.exists() and any(variants.glob("*.pt.json")):
            break
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    told = process.communicate()[1]
    assert process.returncode == 130
    assert "goes on from what was finished" in told
    kept = [file.name.removesuffix(".json") for file in variants.glob("*.pt.json")]
    assert kept
    for name in kept:
        run.artifact(f"reproduce/variants/{name}")  # whole, or this raises
    assert not (run.folder / "reproduce" / "figure7.json").exists()


def test_the_learning_curve_learns_from_less(tmp_path):
    run = made(tmp_path / "run")  # 16 identities with 6 images each
    (curve,) = reproduce(run, "learning_curve", seeds=2, draws=1, steps=30)
    less = [row for row in curve.rows if row["varied"] in ("identities", "images of each", "steps")]
    counts = [(row["identities"], row["images"], row["steps"]) for row in less]
    fewer_people, fewer_images = [(5, 6, 30), (10, 6, 30)], [(16, 2, 30), (16, 4, 30)]
    assert counts == [*fewer_people, *fewer_images, (16, 6, 10), (16, 6, 25)]
    backbone = Experiment(run, ReproduceConfig()).baseline()["mAP"]
    for row in less:
        assert row["gain"] == pytest.approx(row["mAP"] - backbone)
    assert len({row["mAP"] for row in less}) > 1
    assert [len(plot.curves[0].x) for plot in curve.plots] == [3, 3, 3]
    assert "learning_curve" not in chosen(["all"])
    assert chosen(["all", "learning_curve"])[-1] == "learning_curve"


def test_a_part_of_the_training_set_lies_within_a_larger_one():
    train = people(1, 16, 6, 3, "train")
    parts = [
        learnt_from(train, Variant(identities=count, images=images), seed=5)
        for count, images in ((4, 2), (8, 2), (8, 3), (16, 6))
    ]
    assert [len(part) for part in parts] == [8, 16, 24, 96]
    names = [set(map(bytes, part.features)) for part in parts]
    assert names[0] < names[1] < names[2] < names[3]
    other = learnt_from(train, Variant(identities=4, images=2), seed=6)
    assert set(map(bytes, other.features)) != names[0]
