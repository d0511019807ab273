import numpy as np
import pytest
from helpers.dense import sharp

from pipelines.artifacts.embeddings import load_embeddings, save_embeddings
from pipelines.artifacts.manifest import Manifest
from pipelines.artifacts.nformer import load_nformer, save_nformer
from pipelines.artifacts.run import Run
from pipelines.config import EvaluateConfig
from pipelines.embeddings import Embeddings
from pipelines.errors import MissingArtifact
from pipelines.gallery.refinement import refine
from pipelines.nformer.model import NFormer
from pipelines.stages.refine import refine_run


def some(rows, seed):
    random = np.random.default_rng(seed)
    pids, camids = np.arange(rows) % 7, np.arange(rows) % 3
    return Embeddings(random.normal(size=(rows, 8)), pids, camids)


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    with run.writing(Manifest("embeddings.h5", "extract", {}, {})) as (path, _):
        save_embeddings(path, query=some(5, 0), gallery=some(60, 1), dataset="made up")
    inputs = {"embeddings.h5": run.digest("embeddings.h5")}
    with run.writing(Manifest("nformer.pt", "train-nformer", {}, inputs)) as (path, _):
        model = sharp(NFormer(dim=8, classes=3, layers=2, neighbours=5, landmarks=3))
        save_nformer(path, model)  # one to which its landmarks make a difference
    return run


def test_refined_h5_holds_what_refine_returns(run):
    path = refine_run(run, device="cpu")
    model = load_nformer(run.path("nformer.pt"))
    for split, expected in zip(
        ("query", "gallery"), refine(model, some(5, 0), some(60, 1)), strict=True
    ):
        found = load_embeddings(path, split)
        assert np.array_equal(found.features, expected.features)
        assert found.pids.tolist() == expected.pids.tolist()


def test_it_is_up_to_date_the_second_time(run, recorder):
    refine_run(run, device="cpu")
    refine_run(run, device="cpu", progress=recorder)
    assert recorder.messages == [f"{run.path('refined.h5')} is up to date"]
    refine_run(run, config=EvaluateConfig(protocol="joint"), device="cpu", progress=recorder)
    assert recorder.messages[-1] == "refining 5 queries and 60 gallery items"


def test_draws_are_averaged(run):
    """The draws of seed 5 are those of seeds 5, 6 and 7, each refined here on its own."""
    model = load_nformer(run.path("nformer.pt"))
    each = [refine(model, some(5, 0), some(60, 1), seed=seed) for seed in (5, 6, 7)]
    config = EvaluateConfig(seed=5, landmark_draws=3, average_draws=True)
    path = refine_run(run, config=config, device="cpu")
    for side, split in enumerate(("query", "gallery")):
        draws = np.stack([draw[side].features for draw in each]).astype(np.float64)
        assert draws.std(axis=0).max() > 1e-3  # a mean is none of them
        found = load_embeddings(path, split)
        assert found.features == pytest.approx(draws.sum(axis=0) / 3, abs=1e-6)
        assert found.pids.tolist() == each[0][side].pids.tolist()


def test_without_averaging_the_first_draw_is_kept(run):
    config = EvaluateConfig(seed=5, landmark_draws=3)
    found = load_embeddings(refine_run(run, config=config, device="cpu"), "query")
    first = refine(load_nformer(run.path("nformer.pt")), some(5, 0), some(60, 1), seed=5)[0]
    assert np.array_equal(found.features, first.features)


def test_what_cannot_be_refined_is_refused(run, tmp_path):
    with pytest.raises(MissingArtifact, match="nformer extract"):
        refine_run(Run(tmp_path / "none"), device="cpu")
