"""A model of another run: which network its embeddings were made by."""

import pytest
from helpers.gallery_runs import people, run_with

from pipelines import Run
from pipelines.artifacts.manifest import Manifest
from pipelines.stages.adopt_nformer import adopt_nformer


def made_by(run, digest):
    """State that a run's embeddings are of the network with this digest."""
    old = run.manifest("embeddings.h5")
    wanted = Manifest("embeddings.h5", "extract", {}, {"network weights": digest})
    content = run.path("embeddings.h5").read_bytes()
    with run.writing(wanted) as (path, facts):
        facts.update(old.facts)
        path.write_bytes(content)


@pytest.mark.parametrize("ours, warned", [("a" * 64, False), ("b" * 64, True), (None, False)])
def test_a_model_trained_on_another_networks_embeddings_is_told_as_such(
    tmp_path, recorder, ours, warned
):
    gallery = people(500, 20, 6, 3, "gallery")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first = run_with(tmp_path / "first", gallery)
    second = run_with(tmp_path / "second", gallery, train=False)
    made_by(first, "a" * 64)
    if ours:
        made_by(second, ours)
    adopt_nformer(Run(second.folder), first.path("nformer.pt"), progress=recorder)
    assert any("of another network" in text for text in recorder.warnings) == warned
