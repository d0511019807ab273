"""One backbone on several data sets, and one model in several runs, by the commands as typed."""

import io
import json
from dataclasses import replace

import pytest
from helpers.commands import nformer, refused
from helpers.gallery_runs import people, run_with
from helpers.layouts import write_dukemtmcreid, write_market1501
from rich.console import Console

from nformer_cli.tables import across_table
from pipelines import Run
from pipelines.artifacts.embeddings import load_embeddings, load_labels
from pipelines.artifacts.results import Evaluation, ResultRow
from pipelines.evaluation.across_runs import AcrossRuns

TINY = (
    "--arch shufflenet_v2_x0_5 --weights none --height 32 --width 16 --batch 8 --epochs 1 "
    "--device cpu --set dim=16 --set amp=off --set workers=0 --set instances=2"
)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_backbone_of_two_data_sets_embeds_both_or_one(tmp_path):
    market = write_market1501(tmp_path / "m")
    duke = write_dukemtmcreid(tmp_path / "d")
    roots = f"--root {market} --root {duke}"
    done = nformer(f"train-backbone market1501 dukemtmcreid {roots} --run both {TINY}")
    assert done.code == 0, done.err
    facts = Run("both").manifest("backbone.pt").facts
    counts = [len(list((root / "bounding_box_train").glob("*_c*.jpg"))) for root in (market, duke)]
    assert facts["dataset"] == "market1501+dukemtmcreid"
    assert facts["images"]["train"] == sum(counts)
    assert nformer("extract --run both --device cpu --set workers=0").code == 0
    train = load_embeddings("both/embeddings.h5", "train")
    assert len(train) == sum(counts)
    assert set(load_labels("both/embeddings.h5").pids) > {"market1501/2", "market1501/7"}
    said = refused(f"extract --run both --root {market} --overwrite")
    assert "several data sets" in said and "--dataset NAME --root DIR" in said
    one = f"extract --run one --weights both/backbone.pt --dataset market1501 --root {market}"
    done = nformer(f"{one} --device cpu --set workers=0")
    assert done.code == 0, done.err


def test_one_model_in_two_runs_is_one_table_with_the_gap(tmp_path):
    part = people(500, 20, 6, 3, "gallery")
    for name in "ab":
        (tmp_path / name).mkdir()
    first = run_with(tmp_path / "a", part)
    second = run_with(tmp_path / "b", people(500, 20, 6, 4, "gallery"), train=False)
    line = f"evaluate --run {first.folder} --run {second.folder} --model {first.folder}/nformer.pt"
    done = nformer(f"{line} --device cpu --no-report")
    assert done.code == 0, done.err
    assert "different data sets" not in done.out  # both without a name, and of one size
    assert "mAP in %, and its difference from the first run" in done.out
    whole = json.loads(nformer(f"{line} --device cpu --json").out)
    told = whole["runs"]
    assert [one["run"] for one in told] == [str(first.folder), str(second.folder)]
    for number in (0, 1):
        figures = {row["name"]: row["mAP"] for row in told[number]["results"]}
        start = {row["name"]: row["mAP"] for row in told[0]["results"]}
        assert told[number]["gaps"] == pytest.approx(
            {name: start[name] - value for name, value in figures.items()}
        )
    assert any(told[1]["gaps"].values())
    first_map, second_map = (one["results"][0]["mAP"] for one in told)
    over = whole["over_runs"]["baseline"]
    assert over["mAP"] == pytest.approx((first_map + second_map) / 2)
    assert over["mAP_std"] == pytest.approx(abs(first_map - second_map) / 2)
    assert f"{100 * over['mAP']:.1f} ± {100 * over['mAP_std']:.1f}" in done.out
    assert (second.folder / "metrics.json").exists()


def test_a_mean_is_of_one_data_set_alone():
    row = ResultRow(name="baseline", mAP=0.5, mINP=0, rank1=1, rank5=1, rank10=1, seconds=0)
    one = Evaluation(
        dataset="market1501", protocol="isolated", seed=0, queries=4, valid_queries=4, gallery=8,
        peak_rss_mib=1.0, results=(row,), title="Market-1501",
    )  # fmt: skip
    other = replace(one, results=(replace(row, mAP=0.3),))
    for same, changed in (
        (True, {}),
        (True, {"queries": 5}),  # another of its official splits
        (False, {"title": "con-reid (Market-1501's layout)"}),
        (False, {"rules": "vehicleid"}),
    ):
        across = AcrossRuns({"a": one, "b": replace(other, **changed)})
        assert across.one_set is same
        over = json.loads(across.to_json())["over_runs"]
        assert over == ({"baseline": {"mAP": pytest.approx(0.4), "mAP_std": pytest.approx(0.1),
                                      "rank1": 1.0, "rank1_std": 0.0}} if same else {})  # fmt: skip
        console = Console(width=80, file=io.StringIO())
        console.print(across_table(across))
        shown = console.file.getvalue()
        assert ("mean ± deviation" in shown, "no mean is shown" in shown) == (same, not same)
    unnamed = replace(one, title="", dataset="")
    assert not AcrossRuns({"a": unnamed, "b": replace(unnamed, gallery=9)}).one_set


def test_the_same_run_twice_is_refused(tmp_path):
    run = run_with(tmp_path, people(500, 20, 6, 3, "gallery"), train=False)
    assert "same folder twice" in refused(f"evaluate --run {run.folder} --run {run.folder}")
