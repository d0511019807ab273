"""The commands about data sets: their tables, their JSON and their exit codes."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from nformer_cli.app import app
from pipelines import Run, save_embeddings
from pipelines.artifacts.manifest import Manifest
from pipelines.data.synthetic.dataset import write_synthetic
from pipelines.embeddings import Embeddings
from pipelines.errors import BadInput


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return write_synthetic(folder, train_identities=3, test_identities=2, height=32, width=16)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_datasets_lists_them_all():
    table = run("datasets")
    assert table.exit_code == 0
    for name in ("market1501", "dukemtmcreid", "msmt17", "cuhk03-labelled", "folder", "csv"):
        assert name in table.stdout
    rows = {row["name"]: row for row in json.loads(run("datasets", "--json").stdout)}
    assert rows["market1501"]["counts"]["gallery"] == [15913, 750, 6]
    assert "withdrawn" in rows["dukemtmcreid"]["state"]


def test_check_data_of_a_sound_set_ends_with_0(images):
    done = run("check-data", "market1501", "--root", images)
    assert done.exit_code == 0, done.output
    assert "no errors" in done.stdout and "12,936" in done.stdout
    assert json.loads(run("check-data", "market1501", "--root", images, "--json").stdout)["ok"]


def test_check_data_of_a_damaged_image_ends_with_1(images, tmp_path):
    copy = shutil.copytree(images, tmp_path / "images")
    min((copy / "query").glob("*.jpg")).write_bytes(b"")
    done = run("check-data", "market1501", "--root", copy, "--json")
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["ok"] is False and report["findings"][-1]["what"].endswith("empty (0 bytes)")


def test_pack_writes_images_of_the_size_asked_for(images, tmp_path):
    sizes = ("--height", 16, "--width", 8)
    done = run("pack", "market1501", "--root", images, "--run", tmp_path, *sizes)
    assert done.exit_code == 0, done.output
    assert Run(tmp_path).manifest("images.h5").config["height"] == 16


def test_subsample_writes_a_run_for_each_number(tmp_path):
    whole = Embeddings([[1.0, 2.0]] * 6, [1] * 6, range(6))
    with Run(tmp_path).writing(Manifest("embeddings.h5", "test", {}, {})) as (path, _):
        save_embeddings(path, query=whole, gallery=whole)
    done = run("subsample", "--images-per-identity", "2,4", "--run", tmp_path)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "images-per-identity-04" / "embeddings.h5").exists()


def test_subsample_refuses_what_is_no_number(tmp_path):
    done = run("subsample", "--images-per-identity", "2,many", "--run", tmp_path)
    assert isinstance(done.exception, BadInput)
    assert "wanted whole numbers, as in 5,10,15,20" in str(done.exception)
