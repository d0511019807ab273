"""A folder of pictures becomes an index by any network, and is searched with it."""

import json
import shutil

import numpy as np
import pytest
import torch
from helpers.commands import nformer
from helpers.embedding import embed_images
from PIL import Image
from typer.testing import CliRunner

from nformer_cli.app import app
from pipelines import Run, Searcher, extract, load_embeddings
from pipelines.backbones.as_is import architecture
from pipelines.config import ExtractConfig
from pipelines.data.images import read_image
from pipelines.data.synthetic.dataset import write_synthetic
from pipelines.errors import BadInput, StaleArtifact
from pipelines.extraction import chunks, run_network
from pipelines.extraction.given import given_network
from pipelines.extraction.networks import open_network
from pipelines.reporting.montage import write_montage
from pipelines.stages.index import opened
from pipelines.stages.index_pictures import index_pictures
from pipelines.stages.search_images import search_images

ARCH = "osnet_x0_25"
SMALL = ExtractConfig(height=64, width=32, amp="off")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A checkpoint of an untrained OSNet, wrapped and prefixed as torchreid's training saves it."""
    path = tmp_path_factory.mktemp("weights") / "osnet.pth"
    torch.manual_seed(0)
    network = architecture(ARCH).build(size=(64, 32), feature="")
    tensors = {f"module.{name}": value for name, value in network.state_dict().items()}
    tensors["module.classifier.weight"] = torch.zeros(7, 512)
    tensors["module.classifier.bias"] = torch.zeros(7)
    torch.save({"state_dict": tensors, "epoch": 3, "rank1": np.float64(0.5)}, path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crops")
    (folder / "deep").mkdir()
    random = np.random.default_rng(0)
    for number in range(6):
        coarse = random.integers(0, 256, (4, 2, 3), np.uint8)
        image = Image.fromarray(coarse).resize((40, 80), Image.Resampling.NEAREST)
        image.save(folder / ("deep" if number > 3 else ".") / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, folder, weights):
    run = Run(tmp_path_factory.mktemp("run"))
    index_pictures(run, folder, arch=ARCH, weights=weights, config=SMALL, device="cpu")
    return run


def test_every_picture_finds_itself_with_the_network_that_the_index_names(run, folder, weights):
    stored = opened(run)
    assert list(stored.index.names) == [f"{n}.png" for n in range(4)] + ["deep/4.png", "deep/5.png"]
    facts = stored.manifest.facts["network"]
    assert (facts["arch"], facts["weights"]) == (ARCH, str(weights))
    assert facts["preprocessing"]["height"] == 64
    result = search_images(run, [folder], top=1, device="cpu")
    assert [answer.hits[0].name for answer in result.answers] == list(stored.index.names)
    assert all(answer.hits[0].similarity == pytest.approx(1, abs=1e-5) for answer in result.answers)
    assert not result.refined


def test_the_embeddings_are_those_of_the_network_alone(run, folder, weights):
    network = architecture(ARCH).build(size=(64, 32), feature="").eval()
    tensors = torch.load(weights, weights_only=False)["state_dict"]
    own = {name.removeprefix("module."): value for name, value in tensors.items()}
    network.load_state_dict({k: v for k, v in own.items() if not k.startswith("classifier")})
    image = read_image(folder / "2.png").resize((32, 64), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.asarray(image) / 255).permute(2, 0, 1)[None]
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    with torch.no_grad():
        expected = network(((pixels - mean) / std).float())[0].numpy()
    found = opened(run).index.rows[2].numpy()
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-5)


def test_the_network_is_found_in_the_runs_folder_where_it_was_moved(tmp_path, folder, weights):
    moved, run = tmp_path / "w.pth", Run(tmp_path / "run")
    shutil.copy(weights, moved)
    index_pictures(run, folder, arch=ARCH, weights=moved, config=SMALL, device="cpu")
    moved.rename(run.folder / "w.pth")
    assert search_images(run, [folder / "1.png"], device="cpu").answers[0].hits[0].name == "1.png"
    (run.folder / "w.pth").write_bytes(b"another")
    with pytest.raises(BadInput, match="is another network than the one that embedded"):
        search_images(run, [folder / "1.png"], device="cpu")
    (run.folder / "w.pth").unlink()
    with pytest.raises(BadInput, match="which is not there now; put it there or at"):
        search_images(run, [folder / "1.png"], device="cpu")


def test_an_index_of_other_pictures_is_not_replaced_by_itself(
    run, folder, tmp_path, weights, recorder
):
    given = {"arch": ARCH, "weights": weights, "config": SMALL, "device": "cpu"}
    index_pictures(run, folder, progress=recorder, **given)
    assert "up to date" in recorder.messages[-1]
    shutil.copy(folder / "1.png", tmp_path / "1.png")
    with pytest.raises(StaleArtifact, match="pictures has changed"):
        index_pictures(run, tmp_path, **given)


def test_a_searcher_answers_again_with_what_it_has_opened(run, folder, monkeypatch):
    searcher, opens = Searcher(run, device="cpu"), []
    opening = run_network.run_network
    monkeypatch.setattr(
        run_network, "run_network", lambda *a, **k: opens.append(k) or opening(*a, **k)
    )
    pictures = sorted(folder.glob("*.png"))
    for picture in pictures:
        (again,) = searcher.search([picture], top=3).answers
        (alone,) = search_images(run, [picture], top=3, device="cpu").answers
        assert again == alone
    assert len(opens) == 1 + len(pictures)  # the searcher's one, and one for each call


def test_an_interrupted_index_goes_on_and_ends_the_same(tmp_path, folder, weights, monkeypatch):
    given = {"arch": ARCH, "weights": weights, "config": SMALL, "device": "cpu"}
    monkeypatch.setattr(chunks, "CHUNK", 2)
    whole, again = Run(tmp_path / "whole"), Run(tmp_path / "run")
    index_pictures(whole, folder, **given)
    embed, calls = chunks.embed_rows, []

    def two_chunks(*network, rows, **named):
        calls.append(rows)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed(*network, rows=rows, **named)

    monkeypatch.setattr(chunks, "embed_rows", two_chunks)
    with pytest.raises(KeyboardInterrupt):
        index_pictures(again, folder, **given)
    assert not again.path("index.h5").exists()
    index_pictures(again, folder, **given)
    assert calls == [range(2), range(2, 4), range(4, 6), range(4, 6)]
    assert torch.equal(opened(again).index.rows, opened(whole).index.rows)
    assert not (again.folder / ".unfinished").exists()


def test_pictures_that_cannot_be_read_are_left_out_only_where_asked(tmp_path, folder, weights):
    pictures = shutil.copytree(folder, tmp_path / "pictures")
    (pictures / "2.png").write_bytes((folder / "2.png").read_bytes()[:60])
    given = f"--arch {ARCH} --weights {weights} --set height=64 --set width=32 --device cpu"
    line = f"index --pictures {pictures} --run {tmp_path / 'run'} {given}"
    done = nformer(line)
    assert done.code == 2
    assert "2.png: it is truncated; replace it, or go on without" in done.err.splitlines()[-1]
    done = nformer(f"{line} --on-bad-image skip")
    assert "1 image could not be read" in " ".join(done.err.split())
    assert "2.png" not in opened(Run(tmp_path / "run")).index.names


def test_boxes_of_a_track_are_one_item(tmp_path, folder, weights, recorder):
    boxes, run = tmp_path / "boxes.csv", Run(tmp_path / "run")
    boxes.write_text("frame,x,y,w,h,track\n1.png,0,0,40,80,a\n2.png,-4,0,20,40,a\n3.png,0,0,9,9,\n")
    index_pictures(
        run, folder, boxes=boxes, arch=ARCH, weights=weights, config=SMALL, device="cpu",
        progress=recorder,
    )  # fmt: skip
    assert "1 boxes reach over the edge" in recorder.warnings[0]
    index = opened(run).index
    assert list(index.members) == ["1.png#xywh=0,0,40,80\n2.png#xywh=0,0,16,40", ""]
    assert index.names[1] == "3.png#xywh=0,0,9,9"
    network = open_network(
        run, given_network(arch=ARCH, weights=weights), config=SMALL, device=torch.device("cpu")
    )
    pictures = [read_image(folder / "1.png"), read_image(folder / "2.png").crop((0, 0, 16, 40))]
    unit = embed_images(network, pictures)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    mean = unit.mean(axis=0)
    np.testing.assert_allclose(index.rows[0], mean / np.linalg.norm(mean), atol=1e-5)
    result = search_images(run, [folder / "1.png"], top=2, device="cpu")
    assert len(result.answers[0].hits[0].members) == 2
    with Image.open(write_montage(result, tmp_path / "found.png")) as sheet:
        assert sheet.size[0] == 3 * 104 + 8


def test_extract_by_an_architecture_and_its_weights(tmp_path, weights):
    images = write_synthetic(
        tmp_path / "d", train_identities=2, test_identities=2, height=32, width=16
    )
    run = Run(tmp_path / "run")
    given = {"arch": ARCH, "weights": weights, "dataset": "synthetic", "root": images}
    extract(run, config=SMALL, device="cpu", **given)
    found = load_embeddings(run.path("embeddings.h5"), "query")
    assert found.dim == 512
    manifest = run.manifest("embeddings.h5")
    assert manifest.config["arch"] == ARCH
    assert "network weights" in manifest.inputs
    with pytest.raises(StaleArtifact, match=r"mean was None, now \[0.5\]"):
        extract(run, config=ExtractConfig(height=64, width=32, amp="off", mean=(0.5,)), **given)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--pictures", "nowhere"], "--pictures nowhere is not there"),
        (["--pictures", "boxes.csv"], "is no folder"),
        (["--boxes", "boxes.csv"], "--boxes needs --pictures FOLDER"),
        (["--pictures", "crops", "--tracks", "max"], "--tracks max: wanted mean"),
        (["--pictures", "crops", "--set", "mean=[1,2]"], "2 values; one of each channel"),
        (["--pictures", "crops", "--set", "scale=7"], "white is 1 or 255"),
        (
            ["--pictures", "crops", "--set", "feature=neck"],
            "feature neck: --arch osnet_x0_25 gives",
        ),
        (["--pictures", "crops", "--set", "preset=osnet_x9"], "osnet_x9"),
        (["--pictures", "crops", "--set", "mena=1"], "mena is no setting"),
        (["--pictures", "crops", "--boxes", "outside.csv"], "line 2: the box 999,0,5,5"),
        (["--pictures", "empty"], "holds no pictures"),
        (["--pictures", "crops", "--arch", "osnet_x1_0"], "does not fit this"),
    ],
)
def test_what_does_not_fit_is_one_line_and_nothing_is_written(
    tmp_path, monkeypatch, folder, weights, options, problem
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, "crops")
    (tmp_path / "empty").mkdir()
    (tmp_path / "boxes.csv").write_text("frame,x,y,w,h\n1.png,0,0,4,4\n")
    (tmp_path / "outside.csv").write_text("frame,x,y,w,h\n1.png,999,0,5,5\n")
    own = [] if "--arch" in options else ["--arch", ARCH]
    network = ["--weights", str(weights), *own] if "--pictures" in options else []
    done = CliRunner().invoke(app, ["index", *options, *network, "--run", "run"])
    assert isinstance(done.exception, BadInput)
    assert problem in str(done.exception)
    assert not (tmp_path / "run" / "index.h5").exists()


def test_the_command_indexes_and_searches(tmp_path, folder, weights):
    network = ["--arch", ARCH, "--weights", str(weights), "--run", str(tmp_path)]
    size = ["--set", "height=64", "--set", "width=32"]
    done = CliRunner().invoke(app, ["index", "--pictures", str(folder), *network, *size])
    assert done.exit_code == 0, done.output
    found = CliRunner().invoke(
        app, ["search", str(folder / "0.png"), "--run", str(tmp_path), "--json"]
    )
    assert json.loads(found.stdout)["answers"][0]["hits"][0]["name"] == "0.png"


@pytest.mark.parametrize("arch", ["fastreid:bot_r50", "clipreid:vit", "osnet_x1_0"])
def test_weights_that_nobody_publishes_for_download_are_asked_for(tmp_path, folder, arch):
    with pytest.raises(BadInput, match=r"torchvision has none for .*; give --weights PATH"):
        index_pictures(Run(tmp_path), folder, arch=arch, weights="imagenet", device="cpu")
