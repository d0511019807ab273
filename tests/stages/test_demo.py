"""`nformer demo`, made tiny: the same stages, the artifacts, and going on where it stopped."""

from functools import partial

import pytest
from typer.testing import CliRunner

from nformer_cli.app import app
from pipelines import Run
from pipelines.config import SECTIONS
from pipelines.data.synthetic.dataset import write_synthetic
from pipelines.errors import BadInput
from pipelines.settings import configure, read_recipe
from pipelines.stages import demo as stage

TINY = {"train_identities": 6, "test_identities": 4, "cameras": 3, "images": 8}
RECIPE = """
[backbone]
arch = "shufflenet_v2_x0_5"
weights = "none"
height = 32
width = 16
epochs = 1
batch = 8
dim = 16
amp = "off"
workers = 1

[nformer]
steps = 2
neighbours = 4

[evaluate]
rerank = ["kr"]
"""
MADE = ("backbone.pt", "embeddings.h5", "nformer.pt", "metrics.json")


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    monkeypatch.setattr(stage, "RECIPE", str(recipe))
    monkeypatch.setattr(stage, "write_synthetic", partial(write_synthetic, **TINY))


def test_it_runs_the_stages_on_drawn_images_and_returns_the_table(tiny, tmp_path, recorder):
    result = stage.demo(Run(tmp_path / "run"), seed=3, progress=recorder)
    assert result.dataset == "synthetic"
    assert {"baseline", "nformer", "baseline+kr", "nformer+kr"} <= {r.name for r in result.results}
    assert all((tmp_path / "run" / name).is_file() for name in (*MADE, "refined.h5"))
    assert recorder.counted["draw"] == len(list((tmp_path / "run" / "images").rglob("*.jpg")))
    assert recorder.counted["embed"] > 0


def test_a_second_demo_makes_nothing_again(tiny, tmp_path, recorder):
    run = tmp_path / "run"
    first = stage.demo(Run(run))
    before = {name: (run / name).stat().st_mtime_ns for name in MADE}
    again = stage.demo(Run(run), progress=recorder)
    assert again == first
    assert {name: (run / name).stat().st_mtime_ns for name in MADE} == before
    told = [text for text in recorder.messages if text.endswith("is up to date")]
    assert len(told) == 5  # the images and the four stages


def test_a_demo_that_stopped_goes_on(tiny, tmp_path, recorder):
    run = tmp_path / "run"
    first = stage.demo(Run(run))
    for name in ("nformer.pt", "nformer.pt.json", "refined.h5", "metrics.json"):
        (run / name).unlink()
    embedded = (run / "embeddings.h5").stat().st_mtime_ns
    again = stage.demo(Run(run), progress=recorder)
    assert (run / "embeddings.h5").stat().st_mtime_ns == embedded
    assert [row.mAP for row in again.results] == [row.mAP for row in first.results]


def test_another_seed_needs_overwrite(tiny, tmp_path):
    run = tmp_path / "run"
    stage.demo_images(run / "images", seed=1)
    with pytest.raises(BadInput, match="holds something else already"):
        stage.demo(Run(run), seed=2)
    stage.demo_images(run / "images", seed=2, overwrite=True)
    assert (run / "images" / "synthetic.json").read_text().count('"seed": 2') == 1


def test_the_command_writes_just_the_images(tiny, tmp_path):
    folder = tmp_path / "set"
    result = CliRunner().invoke(app, ["demo", "--images-only", str(folder), "--seed", "4"])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in folder.iterdir()) == [
        "bounding_box_test",
        "bounding_box_train",
        "query",
        "synthetic.json",
    ]
    assert not (tmp_path / "runs").exists()


def test_the_demos_recipe_needs_no_download():
    assert set(read_recipe("demo")) <= set(SECTIONS)
    backbone = configure("backbone", recipe="demo")
    assert backbone.weights == "none"
    assert configure("evaluate", recipe="demo").rerank == ("kr",)
