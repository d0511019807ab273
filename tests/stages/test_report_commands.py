"""The commands that a report prints can be typed: they parse, and read the same data set."""

import dataclasses
import json
import shlex

import pytest
from helpers.layouts import write_images
from typer.main import get_command

from nformer_cli import options
from nformer_cli.app import app
from pipelines import Run
from pipelines.artifacts.manifest import Manifest
from pipelines.config import BackboneConfig, as_table
from pipelines.data.catalogue import ENTRIES, open_dataset, open_datasets
from pipelines.extraction.sources import dataset_facts
from pipelines.settings import configure
from pipelines.stages.report import command_of

TABLE = "file,person,camera,set\n" + "".join(
    f"{split}/{person}_{camera}.jpg,{person},{camera},{split}\n"
    for split, person in (("train", "anna"), ("query", "carl"), ("gallery", "carl"))
    for camera in ("door", "hall")
)
COLUMNS = "path=file,pid=person,camid=camera,split=set"


def recorded(run, artifact, stage, *, facts, config=None):
    with run.writing(Manifest(artifact, stage, config or {}, {}, facts=facts)) as (path, _):
        path.write_bytes(artifact.encode())


def parsed(line):
    """Return a command's name and its context, after all of its words were understood."""
    program, name, *words = shlex.split(line)
    group = get_command(app)
    command = group.get_command(None, name)
    assert program == "nformer" and command is not None
    return name, command.make_context(name, words)


@pytest.fixture
def own(tmp_path):
    """Pictures, tables beside them and elsewhere: root and options of each way to read them."""
    photos = tmp_path / "my photos"
    lines = [line.split(",") for line in TABLE.splitlines()[1:]]
    write_images(photos, [line[0] for line in lines])
    (photos / "list.csv").write_text(TABLE)
    (tmp_path / "LISTE.csv").write_text(TABLE)
    first, *others = TABLE.splitlines()
    (tmp_path / "absolute.csv").write_text("\n".join([first, *(f"{photos}/{x}" for x in others)]))
    bare = [",".join(line.split(",")[:2]) for line in TABLE.splitlines()]
    (tmp_path / "bare.csv").write_text("\n".join(bare))
    write_images(tmp_path / "people", [f"{who}/{n}_c{n}.jpg" for who in "abcd" for n in range(3)])
    return tmp_path


@pytest.mark.parametrize(
    ("name", "root", "given"),
    [
        ("csv", "my photos/list.csv", {}),
        ("csv", "my photos", {"columns": COLUMNS}),
        ("csv", "LISTE.csv", {"images": "my photos", "columns": COLUMNS}),
        ("csv", "absolute.csv", {"columns": COLUMNS}),
        ("csv", "bare.csv", {"images": "my photos", "split": 0.5, "queries": "1"}),
        ("folder", "people", {"camera_pattern": r"_c(\d+)", "split": 0.25, "queries": "identity"}),
        ("folder", "people", {"pattern": "{pid}/*_c{camid}.jpg"}),
    ],
)
def test_own_pictures_are_read_again_as_they_were(own, name, root, given):
    places = {key: str(own / given[key]) for key in ("images",) if key in given}
    data = open_dataset(name, own / root, options={**given, **places})
    run = Run(own / "run")
    recorded(run, "backbone.pt", "train-backbone", facts=dataset_facts(data))
    command, context = parsed(command_of(run, "backbone.pt"))
    assert command == "train-backbone" and context.params["run"] == own / "run"
    asked = context.params["datasets"], context.params["root"]
    again = open_datasets(*asked, options=options.reader_options(context))
    assert again.digest() == data.digest() and again.root == data.root
    assert again.options == data.options


def test_every_option_of_every_data_set_can_be_typed(tmp_path):
    values = {"distractors": "500k", "combine_all": True, "no_masks": True, "split": 0.5}
    for known in ENTRIES:
        run = Run(tmp_path / known.name)
        told = {key: values.get(key, "a b") for key in known.options if key != "images"}
        facts = {"dataset": known.name, "root": str(tmp_path), "options": told}
        recorded(run, "backbone.pt", "train-backbone", facts=facts)
        _, context = parsed(command_of(run, "backbone.pt"))
        found = {**options.reader_options(context), "table": context.params["root"][0].name}
        assert {key: found[key] for key in told} == told


@pytest.mark.parametrize(
    ("network", "typed"),
    [
        (("resnet50", "imagenet"), {"arch": "resnet50", "weights": "imagenet", "onnx": None}),
        (("", "/n w/a.onnx"), {"arch": None, "weights": None}),
        (("exported", "/w/b.safetensors"), {"arch": None, "weights": "/w/b.safetensors"}),
    ],
)
def test_a_network_is_named_as_it_was(tmp_path, network, typed):
    run, (arch, weights) = Run(tmp_path / "run"), network
    facts = {"dataset": "csv", "root": "/p", "options": {"table": "/t/x.csv", "split": 0.5}}
    facts["network"] = {"arch": arch, "weights": weights}
    recorded(run, "embeddings.h5", "extract", facts=facts, config={"flip": True})
    _, context = parsed(command_of(run, "embeddings.h5"))
    assert typed.items() <= context.params.items()
    assert str(context.params["root"]) == "/t/x.csv" and context.params["images"] == "/p"
    assert configure("extract", settings=context.params["settings"]).flip


def test_extract_names_a_data_set_only_where_it_is_another_than_the_backbones(tmp_path):
    run, trained = Run(tmp_path / "run"), {"dataset": "market1501", "root": "/a", "options": {}}
    recorded(run, "backbone.pt", "train-backbone", facts=trained)
    recorded(run, "embeddings.h5", "extract", facts=trained)
    assert command_of(run, "embeddings.h5") == f"nformer extract --run {run.folder}"
    recorded(run, "embeddings.h5", "extract", facts={**trained, "root": "/b"})
    _, context = parsed(command_of(run, "embeddings.h5"))
    assert (context.params["dataset"], str(context.params["root"])) == ("market1501", "/b")


def test_settings_that_are_not_the_default_are_taken_again(tmp_path):
    run = Run(tmp_path / "run")
    changed = dataclasses.replace(BackboneConfig(), milestones=(3, 5), lr=1e-05, arch="timm:x")
    config = json.loads(json.dumps(as_table(changed)))  # as a manifest has it
    facts = {"dataset": "market1501", "root": "/a"}
    recorded(run, "backbone.pt", "train-backbone", facts=facts, config=config)
    _, context = parsed(command_of(run, "backbone.pt"))
    assert configure("backbone", settings=context.params["settings"]) == changed
