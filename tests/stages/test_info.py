"""What info tells a person of each artifact, and of what was interrupted."""

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
    assert rows(run)["nformer.pt"].state == "missing"


def test_embeddings_are_described_by_what_a_person_uses(tmp_path):
    run, facts = Run(tmp_path), {"dataset": "market1501", "dim": 2, "seconds": 22.55}
    whole = Embeddings([[1.0, 2.0]] * 6, [1] * 6, range(6))
    wanted = Manifest("embeddings.h5", "extract", {"arch": "resnet50"}, {}, facts=facts)
    with run.writing(wanted) as (path, noted):
        save_embeddings(path, query=whole)
        noted["images"] = {"query": 6}
    assert rows(run)["embeddings.h5"].note == "resnet50, dim 2, query 6, of Market-1501"
