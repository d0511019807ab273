"""What info tells a person of each artifact, and of what was interrupted."""

import os

import pytest

from pipelines import Run, save_embeddings
from pipelines.artifacts.manifest import Manifest
from pipelines.artifacts.unfinished import note_progress
from pipelines.embeddings import Embeddings
from pipelines.stages.info import info


def rows(run):
    return {row.name: row for row in info(run)}


def test_an_interrupted_stage_says_how_far_it_came(tmp_path):
    run = Run(tmp_path)
    (tmp_path / ".unfinished" / "backbone.pt").mkdir(parents=True)
    note_progress(tmp_path / ".unfinished" / "backbone.pt", 1, of=3, unit="epoch", purpose="k")
    row = rows(run)["backbone.pt"]
    assert row.state == "begun"
    assert row.note == "interrupted at epoch 1 of 3; the next run goes on"
    row = rows(run)["nformer.pt"]
    assert (row.state, row.note) == (
        "not yet",
        f"make it with: nformer train-nformer --run {tmp_path}",
    )


def test_what_was_begun_to_replace_an_artifact_is_told_with_its_command(tmp_path):
    run = Run(tmp_path)
    made(run, "ranking.h5", "evaluate")
    (tmp_path / ".unfinished" / "ranking.h5").mkdir(parents=True)
    note_progress(tmp_path / ".unfinished" / "ranking.h5", 1, of=3, unit="part", purpose="k")
    assert rows(run)["ranking.h5"].note == (
        "another was interrupted at part 1 of 3; go on with the command that began it: "
        f"nformer evaluate --run {tmp_path}"
    )


def made(run, name, stage, *inputs):
    with run.writing(Manifest(name, stage, {}, dict.fromkeys(inputs, "0"))) as (path, _):
        path.write_text("{}")


def test_what_nobody_asked_for_is_not_listed_and_what_is_gone_is_missing(tmp_path):
    """Embeddings of another program, ranked as they are: no backbone, NFormer or graph."""
    run = Run(tmp_path)
    made(run, "embeddings.h5", "import-embeddings")
    assert [(row.name, row.state) for row in info(run)] == [
        ("embeddings.h5", "whole"),
        *((name, "not yet") for name in ("nformer.pt", "refined.h5", "graph.h5", "ranking.h5")),
        ("metrics.json", "not yet"),
    ]
    made(run, "ranking.h5", "evaluate", "embeddings.h5")
    made(run, "metrics.json", "evaluate", "embeddings.h5")
    assert list(rows(run)) == ["embeddings.h5", "ranking.h5", "metrics.json"]
    run.path("embeddings.h5").unlink()
    assert rows(run)["embeddings.h5"].state == "missing"


def test_pages_are_listed_and_are_stale_where_they_are_older(tmp_path):
    run = Run(tmp_path)
    made(run, "metrics.json", "evaluate")
    run.path("report.html").write_text("page")
    assert rows(run)["report.html"].state == "whole"
    os.utime(run.path("report.html"), ns=(0, 0))
    row = rows(run)["report.html"]
    assert row.state == "stale"
    assert row.note == (
        f"older than metrics.json; make it again with: nformer report --run {tmp_path}"
    )


def test_embeddings_are_described_by_what_a_person_uses(tmp_path):
    run, facts = Run(tmp_path), {"dataset": "market1501", "dim": 2, "seconds": 22.55}
    whole = Embeddings([[1.0, 2.0]] * 6, [1] * 6, range(6))
    wanted = Manifest("embeddings.h5", "extract", {"arch": "resnet50"}, {}, facts=facts)
    with run.writing(wanted) as (path, noted):
        save_embeddings(path, query=whole)
        noted["images"] = {"query": 6}
    assert rows(run)["embeddings.h5"].note == "resnet50, dim 2, query 6, of Market-1501"


@pytest.mark.parametrize(("count", "told"), [(0, ""), (1, "1 image left"), (2, "2 images left")])
def test_images_that_were_left_out_are_counted(tmp_path, count, told):
    run, facts = Run(tmp_path), {"skipped": dict.fromkeys(["a.jpg", "b.jpg"][:count], "empty")}
    with run.writing(Manifest("images.h5", "pack", {}, {}, facts=facts)) as (path, _):
        path.touch()
    note = rows(run)["images.h5"].note
    assert told in note and bool(note) == bool(told)
