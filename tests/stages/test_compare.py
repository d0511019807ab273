"""`nformer compare`: rows from metrics.json, intervals from the queries, refusals."""

import dataclasses
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from nformer_cli.app import app
from pipelines import (
    BadInput,
    Embeddings,
    MissingArtifact,
    Run,
    evaluate,
    load_embeddings,
    save_embeddings,
)
from pipelines.artifacts.manifest import Manifest
from pipelines.config import EvaluateConfig
from pipelines.stages.compare import compare


def make_run(folder, *, noise: float, names: str = "query", reverse: bool = False) -> Run:
    random = np.random.default_rng(7)
    centres = random.standard_normal((20, 8))
    pids = np.repeat(np.arange(20), 3)
    camids = np.tile([1, 2, 3], 20)
    rows = centres[pids] + noise * random.standard_normal((60, 8))
    first = np.flatnonzero(camids == 1)
    first = first[::-1] if reverse else first
    run = Run(folder)
    with run.writing(Manifest("embeddings.h5", "extract", {}, {})) as (path, _):
        query = Embeddings(
            rows[first], pids[first], camids[first], [f"{names}{pids[row]}" for row in first]
        )
        rest = np.flatnonzero(camids > 1)
        save_embeddings(path, query=query, gallery=Embeddings(rows[rest], pids[rest], camids[rest]))
    evaluate(run, config=EvaluateConfig(refine=("none",), rerank=("kr",), k1=3, k2=2))
    return run


def test_rows_are_the_runs_own_figures_and_differences_of_their_map(tmp_path):
    good, bad = make_run(tmp_path / "good", noise=0.3), make_run(tmp_path / "bad", noise=2.0)
    found = compare([bad, good], results=["baseline"])
    assert [row.run for row in found.rows] == [str(bad.folder), str(good.folder)]
    assert found.rows[0].difference is None
    difference = found.rows[1].difference
    gap = found.rows[1].result.mAP - found.rows[0].result.mAP
    assert difference.mean == pytest.approx(gap)
    assert 0 < difference.low < difference.mean < difference.high
    assert found.queries == 20


def test_queries_in_another_order_are_paired_by_name(tmp_path):
    one = make_run(tmp_path / "one", noise=1.0)
    other = make_run(tmp_path / "other", noise=1.0, reverse=True)
    difference = compare([one, other], results=["baseline"]).rows[1].difference
    assert difference == pytest.approx((0, 0, 0), abs=1e-6)


def test_the_same_rows_have_the_same_interval_wherever_they_stand(tmp_path):
    one, other = (make_run(tmp_path / name, noise=noise) for name, noise in (("a", 1.0), ("b", 2)))
    rows = compare([one, other, other], results=["baseline"]).rows
    assert rows[1].difference == rows[2].difference
    assert rows[1].difference.low < rows[1].difference.high


def test_all_results_of_one_run_stand_beside_its_first(tmp_path):
    found = compare([make_run(tmp_path / "one", noise=1.0)])
    assert [row.result.name for row in found.rows] == ["baseline", "baseline+kr"]
    assert f"from the first row, baseline of {tmp_path / 'one'}; to have" in found.notes[0]


def test_the_first_result_named_of_the_first_run_is_the_reference(tmp_path):
    one, other = (make_run(tmp_path / name, noise=noise) for name, noise in (("a", 1.0), ("b", 2)))
    found = compare([other, one], results=["baseline+kr", "baseline"])
    assert found.rows[0].difference is None
    assert (found.rows[0].run, found.rows[0].result.name) == (str(other.folder), "baseline+kr")
    assert f"from the first row, baseline+kr of {other.folder};" in found.notes[0]
    assert not compare([one], results=["baseline"]).notes


def test_other_queries_and_unknown_results_are_refused(tmp_path):
    one = make_run(tmp_path / "one", noise=1.0)
    other = make_run(tmp_path / "other", noise=1.0, names="person")
    with pytest.raises(BadInput, match="have different queries: 40 are in one of them only"):
        compare([one, other])
    with pytest.raises(
        BadInput, match=r"has no result 'nformer'; it has 'baseline', 'baseline\+kr'"
    ):
        compare([one], results=["nformer"])
    with pytest.raises(MissingArtifact, match="nformer evaluate"):
        compare([one, Run(tmp_path / "empty")])


def test_runs_of_other_labels_or_galleries_are_refused(tmp_path):
    def changed(name, **labels):
        run = make_run(tmp_path / name, noise=1.0)
        splits = {s: load_embeddings(run.path("embeddings.h5"), s) for s in ("query", "gallery")}
        splits |= {s: dataclasses.replace(splits[s], **given) for s, given in labels.items()}
        with run.writing(Manifest("embeddings.h5", "extract", {}, {})) as (path, _):
            save_embeddings(path, **splits)
        evaluate(run, config=EvaluateConfig(refine=("none",)), overwrite=True)
        return run

    one = changed("one")
    unknown = {"camids": np.full(40, -1)}
    for name, labels, said in (
        ("cameras", {"gallery": unknown}, "the same items with different cameras"),
        ("people", {"query": {"pids": np.arange(20)[::-1].copy()}}, "with different identities"),
        (
            "names",
            {"gallery": {"names": [f"g{row}" for row in range(40)]}},
            "different galleries",
        ),
    ):
        with pytest.raises(BadInput, match=said):
            compare([one, changed(name, **labels)])
    renumbered = changed("numbers", query={"pids": np.arange(20) + 100},
                         gallery={"pids": np.repeat(np.arange(20) + 100, 2)})  # fmt: skip
    found = compare([one, renumbered])
    assert found.rows[1].difference == pytest.approx((0, 0, 0), abs=1e-6)
    said = "the items have no names: row i of one run is taken for row i of the other"
    assert found.notes[1:] == (said,)


def test_joint_rows_beside_isolated_ones_are_marked(tmp_path):
    run = make_run(tmp_path / "one", noise=1.0)
    assert "differ in protocol (isolated, joint)" in compare([run]).notes[1]
    shown = CliRunner().invoke(app, ["compare", str(run.folder)]).stdout
    assert "baseline+kr (joint)" in shown and "joint ones mix the queries" in shown


def test_the_command_shows_the_same_numbers_as_its_json(tmp_path):
    runs = [
        str(make_run(tmp_path / name, noise=noise).folder) for name, noise in (("a", 0.5), ("b", 1))
    ]
    told = CliRunner().invoke(app, ["compare", *runs, "--result", "baseline", "--json"])
    shown = CliRunner().invoke(app, ["compare", *runs, "--result", "baseline"])
    assert told.exit_code == shown.exit_code == 0
    rows = json.loads(told.stdout)["rows"]
    for row in rows:
        assert f"{100 * row['mAP']:.1f}" in shown.stdout
    assert f"{100 * rows[1]['difference']['mean']:+.1f}" in shown.stdout
