"""Exported networks embed as torch does, and ONNX networks feed the rest."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from helpers.commands import nformer, refused
from typer.testing import CliRunner

from nformer_cli.app import app
from pipelines import Run, evaluate, extract, load_embeddings, train_backbone
from pipelines.artifacts.backbone import load_backbone
from pipelines.artifacts.checkpoints import load_untrusted
from pipelines.backbones.backbone import build_backbone
from pipelines.backbones.state_dicts import load_weights
from pipelines.config import BackboneConfig, EvaluateConfig, ExtractConfig
from pipelines.data.synthetic.dataset import write_synthetic
from pipelines.errors import BadInput, MissingArtifact, PipelineError
from pipelines.preprocessing import Preprocessing
from pipelines.stages import export as stage
from pipelines.stages.export import example_images, export


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return write_synthetic(folder, train_identities=4, test_identities=3, height=32, width=16)


@pytest.fixture(scope="module")
def run(tmp_path_factory, images):
    run = Run(tmp_path_factory.mktemp("run"))
    config = BackboneConfig(
        arch="resnet18", weights="none", height=32, width=16, dim=8, epochs=1, batch=8,
        instances=2, amp="off", workers=1,
    )  # fmt: skip
    train_backbone(run, "synthetic", root=images, config=config, device="cpu")
    return run


def expected(run, count):
    backbone, _ = load_backbone(run.path("backbone.pt"))
    with torch.no_grad():
        return backbone(example_images(32, 16, count=count)).numpy()


def test_torchscript_embeds_as_torch_does(run, recorder):
    path = export(run, format="torchscript", progress=recorder)
    with torch.no_grad():
        found = torch.jit.load(str(path))(example_images(32, 16, count=5)).numpy()
    np.testing.assert_allclose(found, expected(run, 5), rtol=1e-4, atol=1e-4)
    assert recorder.messages[0].startswith("largest difference from torch: ")


def test_safetensors_hold_the_weights_and_say_what_they_are_for(run, recorder):
    safetensors = pytest.importorskip("safetensors")
    path = export(run, format="safetensors", progress=recorder)
    backbone, facts = load_backbone(run.path("backbone.pt"))
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["arch"] == facts["arch"] == "resnet18"
    wants = Preprocessing(height=32, width=16)
    assert json.loads(metadata["nformer.preprocessing"]) == wants.as_table()
    other = build_backbone("resnet18", classes=3, dim=8)
    loaded = load_weights(other, load_untrusted(path), source=str(path))
    assert loaded.made_anew == ("classifier.weight",) and loaded.left_out == ()
    assert torch.equal(other.projection.weight, backbone.projection.weight)
    assert recorder.messages[0] == "largest difference from torch: 0"


def test_an_exported_backbone_embeds_elsewhere_by_its_file_alone(run, images, tmp_path):
    pytest.importorskip("safetensors")
    path = shutil.copy(export(run, format="safetensors"), tmp_path / "model.safetensors")
    given = f"--weights {path} --dataset synthetic --root {images} --set amp=off --device cpu"
    assert nformer(f"extract {given} --run {tmp_path / 'other'}").code == 0
    there = load_embeddings(tmp_path / "other" / "embeddings.h5", "query")
    own = load_embeddings(extract(run, config=ExtractConfig(amp="off"), overwrite=True), "query")
    np.testing.assert_array_equal(there.features, own.features)


@pytest.mark.parametrize("damage", ["tensors", "metadata"])
def test_a_damaged_export_is_refused_in_one_line(run, images, tmp_path, damage):
    pytest.importorskip("safetensors")
    whole = export(run, format="safetensors").read_bytes()
    cut = whole[:-500] if damage == "tensors" else whole.replace(b"resnet18", b"resnet81")
    path = tmp_path / "model.safetensors"
    path.write_bytes(cut)
    line = f"extract --weights {path} --dataset synthetic --root {images} --run {tmp_path / 'o'}"
    assert str(path) in nformer(line).err.splitlines()[-1]


def test_weights_without_an_architecture_are_refused(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"none")
    said = refused(f"index --pictures {tmp_path} --weights {tmp_path / 'w.safetensors'}")
    assert "needs --arch NAME" in said and "by nformer export" in said


@pytest.mark.parametrize("format", ["safetensors", "torchscript"])
def test_the_card_says_what_the_network_is_and_what_it_reached(run, format):
    pytest.importorskip("safetensors")
    extract(run, config=ExtractConfig(amp="off"), device="cpu", overwrite=True)
    found = evaluate(run, config=EvaluateConfig(refine=()), overwrite=True)
    card = export(run, format=format).with_suffix(f".{format}.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: nformer\n")
    assert "# resnet18 for re-identification, trained on Drawn people" in card
    assert "| embedding | 8 numbers, compared by cosine |" in card
    assert (
        "| images | 32×16, RGB from 0 to 1, less 0.485, 0.456, 0.406, divided by" in card
        and "| identities | 4 |" in card
    )
    best = found.row("baseline")
    assert f"| baseline | isolated | {100 * best.mAP:.1f} | {100 * best.rank1:.1f} |" in card
    assert str(run.folder.parent) not in card  # nothing of this machine


def test_push_uploads_the_file_and_its_card_in_one_commit(run, monkeypatch):
    hub, calls = pytest.importorskip("huggingface_hub"), []

    class Api:
        endpoint = "https://hub.invalid"

        def create_repo(self, name, **settings):
            calls.append((name, settings))

        def create_commit(self, name, operations, commit_message):
            calls.append((name, {one.path_in_repo: one.path_or_fileobj for one in operations}))

    monkeypatch.setattr(hub, "HfApi", Api)
    done = nformer(f"export --format safetensors --run {run.folder} --push someone/people")
    assert done.code == 0, done
    assert "https://hub.invalid/someone/people" in done.err.replace("\n", "")
    assert calls[0] == ("someone/people", {"private": True, "exist_ok": True})
    sent = calls[1][1]
    assert sent["model.safetensors"] == str(run.path("backbone.safetensors"))
    assert b"--weights model.safetensors" in sent["README.md"]


def test_a_hub_that_cannot_be_reached_is_said_in_one_line(run, monkeypatch):
    pytest.importorskip("huggingface_hub")
    assert "wanted OWNER/NAME" in refused(f"export --run {run.folder} --push people")
    hub = pytest.importorskip("huggingface_hub")

    def refuse(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(hub.HfApi, "create_repo", refuse)
    done = nformer(f"export --format safetensors --run {run.folder} --push someone/people")
    assert done.code == 2
    said = " ".join(done.err.split())
    assert "--push someone/people is not uploaded" in said and "(no route to host)" in said


def test_onnx_embeds_as_torch_does_at_any_batch(run, recorder):
    pytest.importorskip("onnxruntime")
    from pipelines.backbones.onnx_network import OnnxNetwork

    path = export(run, format="onnx", progress=recorder)
    network = OnnxNetwork(path)
    assert (network.batch, network.height, network.width) == (None, 32, 16)
    for count in (1, 5):
        found = network(example_images(32, 16, count=count).numpy())
        np.testing.assert_allclose(found, expected(run, count), rtol=1e-3, atol=1e-3)
    assert recorder.messages[0].startswith("largest difference from torch: ")
    assert run.facts("backbone.onnx")["maximum_difference"] < 1e-3


def test_extraction_by_onnx_equals_that_of_the_backbone(run, images, tmp_path):
    pytest.importorskip("onnxruntime")
    path = export(run, format="onnx")
    config = ExtractConfig(amp="off", flip=True)
    by_onnx = extract(Run(tmp_path), dataset="synthetic", root=images, onnx=path, config=config)
    ours = extract(run, config=config, device="cpu", overwrite=True)
    for split in ("train", "query", "gallery"):
        one, other = (load_embeddings(file, split) for file in (by_onnx, ours))
        np.testing.assert_allclose(one.features, other.features, rtol=1e-3, atol=1e-3)
        assert list(one.names) == list(other.names)


def test_the_file_says_what_it_wants_of_images(run, recorder):
    pytest.importorskip("onnxruntime")
    from pipelines.backbones.onnx_network import METADATA, OnnxNetwork

    wanted = Preprocessing(height=32, width=16)
    assert OnnxNetwork(export(run, format="onnx")).preprocessing == wanted
    extra = {METADATA: ""}
    torch.jit.load(str(export(run, format="torchscript")), _extra_files=extra)
    assert Preprocessing.of(json.loads(extra[METADATA])) == wanted


def test_the_command_embeds_with_an_onnx_network(run, images, tmp_path):
    pytest.importorskip("onnxruntime")
    given = ["--onnx", export(run), "--dataset", "synthetic", "--root", images, "--run", tmp_path]
    done = CliRunner().invoke(app, ["extract", *map(str, given)])
    assert done.exit_code == 0, done.output
    assert "onnx network" in Run(tmp_path).manifest("embeddings.h5").inputs


def test_onnx_needs_to_be_told_the_images(run, images, tmp_path):
    with pytest.raises(BadInput, match="needs --dataset NAME and --root DIR"):
        extract(Run(tmp_path), onnx=export(run))
    with pytest.raises(BadInput, match=r"--onnx no\.onnx: no such file"):
        extract(Run(tmp_path), onnx="no.onnx", dataset="synthetic", root=images)


def test_a_file_that_is_no_onnx_network_says_so(tmp_path):
    pytest.importorskip("onnxruntime")
    from pipelines.backbones.onnx_network import OnnxNetwork

    path = tmp_path / "network.onnx"
    path.write_bytes(b"no network")
    with pytest.raises(BadInput, match="cannot be read as an ONNX network"):
        OnnxNetwork(path)


def made_network(path, shape, axes):
    """A network that sums its input over some axes."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node("ReduceSum", ["images", "axes"], ["out"], keepdims=0)
    graph = helper.make_graph(
        [node],
        "sum",
        [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info("out", kind, None)],
        [helper.make_tensor("axes", onnx.TensorProto.INT64, [len(axes)], axes)],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def test_networks_of_a_fixed_batch_are_fed_in_such_batches(tmp_path):
    from pipelines.backbones.onnx_network import OnnxNetwork

    network = OnnxNetwork(made_network(tmp_path / "n.onnx", [2, 3, 4, 4], [2, 3]))
    images = np.random.default_rng(0).random((5, 3, 4, 4), np.float32)
    np.testing.assert_allclose(network(images), images.sum(axis=(2, 3)), rtol=1e-5)


def test_networks_that_give_no_embeddings_or_take_no_images_say_so(tmp_path):
    from pipelines.backbones.onnx_network import OnnxNetwork

    network = OnnxNetwork(made_network(tmp_path / "a.onnx", ["b", 3, 4, 4], [0, 3]))
    with pytest.raises(BadInput, match="wanted an embedding of each of 2 images"):
        network(np.zeros((2, 3, 4, 4), np.float32))
    with pytest.raises(BadInput, match="wanted one input of images"):
        OnnxNetwork(made_network(tmp_path / "b.onnx", ["b", 7], [1]))


def test_without_onnxruntime_the_extra_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BadInput, match=r"python -m pip install 'nformer\[onnx\]'"):
        export(run, format="onnx", overwrite=True)


def test_another_format_and_a_missing_backbone_are_refused(run, tmp_path):
    with pytest.raises(BadInput, match="known are onnx, torchscript"):
        export(run, format="tflite")
    with pytest.raises(MissingArtifact, match="train-backbone"):
        export(Run(tmp_path))


def test_a_file_that_differs_from_torch_is_not_kept(run, monkeypatch):
    monkeypatch.setattr(stage, "TOLERANCE", -1.0)
    before = run.manifest("backbone.torchscript")
    with pytest.raises(PipelineError, match="differ from torch's by .*nothing was written"):
        export(run, format="torchscript", overwrite=True)
    assert run.manifest("backbone.torchscript") == before


@pytest.mark.parametrize("format", ["torchscript", "safetensors", "onnx"])
def test_a_file_that_vanishes_before_it_is_compared_is_an_error_of_the_disk(
    run, monkeypatch, format
):
    if format == "onnx":
        pytest.importorskip("onnxscript")
    compare = stage._difference

    def removed_first(network, path, **kwargs):
        path.unlink()
        return compare(network, path, **kwargs)

    monkeypatch.setattr(stage, "_difference", removed_first)
    with pytest.raises((FileNotFoundError, BadInput), match="backbone"):
        export(run, format=format, overwrite=True)
