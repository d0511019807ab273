import numpy as np
import pytest
import torch

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


def uneven(model):
    """Give a model weights with which its landmarks matter."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return model


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    with run.writing(Manifest("embeddings.h5", "extract", {}, {})) as (path, _):
        save_embeddings(path, query=some(5, 0), gallery=some(60, 1), dataset="made up")
    inputs = {"embeddings.h5": run.digest("embeddings.h5")}
    with run.writing(Manifest("nformer.pt", "train-nformer", {}, inputs)) as (path, _):
        save_nformer(path, uneven(NFormer(dim=8, classes=3, layers=2, neighbours=5, landmarks=3)))
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
    config = EvaluateConfig(landmark_draws=3, average_draws=True)
    mean = load_embeddings(refine_run(run, config=config, device="cpu"), "query").features
    model = load_nformer(run.path("nformer.pt"))
    draws = [refine(model, some(5, 0), some(60, 1), seed=seed)[0].features for seed in range(3)]
    np.testing.assert_allclose(mean, np.mean(draws, axis=0), atol=1e-6)
    assert np.abs(draws[0] - draws[2]).max() > 1e-3
    assert len(run.facts("refined.h5")["landmark_rows"]) == 3


def test_what_cannot_be_refined_is_refused(run, tmp_path):
    with pytest.raises(MissingArtifact, match="nformer extract"):
        refine_run(Run(tmp_path / "none"), device="cpu")
