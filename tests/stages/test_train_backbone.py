"""Training the backbone: resumed bit for bit, kept when current, refused with the reason."""

import errno
import json
import shutil

import pytest
import torch

from pipelines import Run, train_backbone
from pipelines.artifacts.backbone import load_backbone
from pipelines.config import BackboneConfig
from pipelines.data.synthetic.dataset import write_synthetic
from pipelines.errors import BadInput, PipelineError, StaleArtifact
from pipelines.files import file_digest
from pipelines.stages import train_backbone as stage
from pipelines.training.log import read_log

TINY = {
    "arch": "shufflenet_v2_x0_5",
    "weights": "none",
    "height": 32,
    "width": 16,
    "dim": 8,
    "epochs": 3,
    "batch": 8,
    "instances": 2,
    "pad": 2,
    "erase": 0.5,
    "amp": "off",
    "workers": 1,
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return write_synthetic(folder, train_identities=6, test_identities=3, height=32, width=16)


def train(run, images, *, overwrite=False, progress=None, **settings):
    config = BackboneConfig(**TINY | settings)
    extra = {} if progress is None else {"progress": progress}
    return train_backbone(
        run, "synthetic", root=images, config=config, device="cpu", overwrite=overwrite, **extra
    )


class Killed(BaseException):
    pass


def killed_after_epoch(monkeypatch, run, images, epoch, **settings):
    """Stop a training as a kill would, once the state of `epoch` is on disk."""
    save = stage.save_state

    def save_then_die(path, **state):
        save(path, **state)
        if state["counters"]["epoch"] == epoch:
            raise Killed

    monkeypatch.setattr(stage, "save_state", save_then_die)
    with pytest.raises(Killed):
        train(run, images, **settings)
    monkeypatch.setattr(stage, "save_state", save)


def test_a_backbone_can_be_loaded_and_says_what_it_is(tmp_path, images):
    run = Run(tmp_path)
    backbone, facts = load_backbone(train(run, images))
    assert facts["arch"] == "shufflenet_v2_x0_5" and facts["classes"] == 6
    assert backbone(torch.zeros(1, 3, 32, 16)).shape == (1, 8)
    manifest = run.manifest("backbone.pt")
    assert manifest.facts["dataset"] == "synthetic"
    assert manifest.facts["root"] == str(images.resolve())
    assert not (tmp_path / ".unfinished").exists()


@pytest.mark.parametrize("settings", [{}, {"optimizer": "adam", "schedule": "cosine"}])
def test_a_resumed_training_equals_the_uninterrupted_one(
    monkeypatch, tmp_path, images, recorder, settings
):
    whole, parts = Run(tmp_path / "whole"), Run(tmp_path / "parts")
    train(whole, images, **settings)
    killed_after_epoch(monkeypatch, parts, images, 2, **settings)
    train(parts, images, progress=recorder, **settings)
    assert "going on after epoch 2 of 3" in recorder.messages
    assert file_digest(whole.path("backbone.pt")) == file_digest(parts.path("backbone.pt"))
    logs = [run.path("train.jsonl").read_text() for run in (whole, parts)]
    assert logs[0] == logs[1]


def test_another_trainings_state_is_not_gone_on_from(monkeypatch, tmp_path, images, recorder):
    run = Run(tmp_path)
    killed_after_epoch(monkeypatch, run, images, 1, seed=4)
    train(run, images, progress=recorder)
    assert not [text for text in recorder.messages if "going on" in text]


def test_a_current_backbone_keeps_what_was_begun_to_replace_it(
    monkeypatch, tmp_path, images, recorder
):
    run = Run(tmp_path)
    path = train(run, images)
    killed_after_epoch(monkeypatch, run, images, 2, seed=4, overwrite=True)
    train(run, images, progress=recorder)
    assert recorder.messages[-1] == (
        f"{path} is up to date; another, to replace it, is unfinished at epoch 1 of 3: go on with "
        f"the command that began it: nformer train-backbone DATASET --run {tmp_path}"
    )
    train(run, images, seed=4, overwrite=True, progress=recorder)
    assert "going on after epoch 2 of 3" in recorder.messages


def test_what_a_finished_training_left_to_go_on_from_is_removed(
    monkeypatch, tmp_path, images, recorder
):
    run = Run(tmp_path)
    with monkeypatch.context() as killed:
        killed.setattr(Run, "clear_scratch", lambda *_: None)
        path = train(run, images)
    assert (tmp_path / ".unfinished" / "backbone.pt").is_dir()
    train(run, images, progress=recorder)
    assert recorder.messages == [f"{path} is up to date"]
    assert not (tmp_path / ".unfinished").exists()


def test_the_log_has_every_step_with_losses_and_rate(tmp_path, images):
    run = Run(tmp_path)
    train(run, images, warmup_epochs=2, warmup_factor=0.5, lr=0.1)
    lines = read_log(run.path("train.jsonl"), "train-backbone")
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    assert {"loss", "identity", "triplet", "center", "lr", "epoch"} <= set(lines[0])
    assert sorted({line["lr"] for line in lines}) == pytest.approx([0.05, 0.075, 0.1])
    first = lines[0]
    parts = first["identity"] + first["triplet"] + 5e-4 * first["center"]
    assert first["loss"] == pytest.approx(parts, rel=1e-5)


def test_evaluation_between_epochs_changes_nothing_but_the_log(tmp_path, images, recorder):
    plain, watched = Run(tmp_path / "a"), Run(tmp_path / "b")
    train(plain, images)
    train(watched, images, eval_every=1, progress=recorder)
    assert file_digest(plain.path("backbone.pt")) == file_digest(watched.path("backbone.pt"))
    assert sum("mAP" in text for text in recorder.messages) == 3
    train(watched, images, eval_every=0, workers=0)  # neither makes it another artifact


def test_a_current_backbone_is_kept(tmp_path, images, recorder):
    run = Run(tmp_path)
    path = train(run, images)
    before = path.stat().st_mtime_ns
    assert train(run, images, progress=recorder) == path
    assert path.stat().st_mtime_ns == before
    assert recorder.messages == [f"{path} is up to date"]


def test_another_setting_makes_it_stale_unless_it_may_be_overwritten(tmp_path, images):
    run = Run(tmp_path)
    train(run, images)
    with pytest.raises(StaleArtifact, match="epochs was 3, now 2.*--overwrite"):
        train(run, images, epochs=2)
    train(run, images, epochs=2, overwrite=True)
    assert run.manifest("backbone.pt").config["epochs"] == 2


def test_other_images_make_it_stale(tmp_path, images):
    run, copy = Run(tmp_path / "run"), tmp_path / "copy"
    shutil.copytree(images, copy)
    train(run, copy)
    removed = min((copy / "bounding_box_train").glob("*.jpg"))
    removed.unlink()
    with pytest.raises(StaleArtifact, match="training images has changed"):
        train(run, copy)


def test_a_batch_of_more_identities_than_there_are_is_cut_and_said(tmp_path, images, recorder):
    train(Run(tmp_path), images, batch=128, instances=4, epochs=1, progress=recorder)
    assert Run(tmp_path).manifest("backbone.pt").config["batch"] == 24
    said = "batches of 24 images instead of 128: 4 of each identity, of which the train split has 6"
    assert said in recorder.messages


def test_a_loss_that_is_not_finite_stops_and_names_the_step(tmp_path, images):
    with pytest.raises(PipelineError, match=r"the loss is (nan|inf) at step \d+: .*--set lr=") as e:
        train(Run(tmp_path), images, lr=1e30, schedule="constant", warmup_epochs=0)
    assert not (tmp_path / "backbone.pt").exists(), e


@pytest.fixture
def damaged(tmp_path, images):
    copy = tmp_path / "damaged"
    shutil.copytree(images, copy)
    path = min((copy / "bounding_box_train").glob("*.jpg"))
    path.write_bytes(path.read_bytes()[:300])
    return copy, f"bounding_box_train/{path.name}"


def test_a_corrupt_image_fails_with_its_name(tmp_path, damaged):
    copy, name = damaged
    with pytest.raises(BadInput, match=rf"{name}: .*truncated.*--on-bad-image skip") as error:
        train(Run(tmp_path / "run"), copy)
    check = f"There may be more: `nformer check-data synthetic --root {copy.resolve()}` lists all"
    assert check in str(error.value)


def test_a_corrupt_image_is_left_out_counted_and_listed_when_asked(tmp_path, damaged, recorder):
    copy, name = damaged
    run = Run(tmp_path / "run")
    train(run, copy, on_bad_image="skip", progress=recorder)
    assert list(run.facts("backbone.pt")["skipped"]) == [name]
    assert f"1 image could not be read and was left out: {name}" in recorder.warnings[-1]


def test_weights_that_are_not_there_say_so(tmp_path, images):
    with pytest.raises(BadInput, match="--weights no.pth: no such file; wanted imagenet, none, or"):
        train(Run(tmp_path), images, weights="no.pth")


def test_other_weights_make_another_backbone(tmp_path, images, recorder):
    first, second = Run(tmp_path / "a"), Run(tmp_path / "b")
    start = str(train(first, images))
    train(second, images, weights=start, epochs=1, progress=recorder)
    assert any("tensors taken" in text for text in recorder.messages)
    assert json.loads(second.manifest_path("backbone.pt").read_text())["inputs"]["weights"]


def test_imagenet_weights_without_a_network_tell_the_two_ways_out(monkeypatch, tmp_path, images):
    def refuse(*args, **settings):
        raise OSError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    message = "cannot be downloaded .*not known.*give --weights PATH, or .*--weights none"
    with pytest.raises(BadInput, match=message):
        train(Run(tmp_path / "run"), images, weights="imagenet")


def test_no_space_left_says_so_and_leaves_nothing_half(monkeypatch, tmp_path, images):
    def full(*args, **settings):
        raise OSError(errno.ENOSPC, "No space left on device")

    run = Run(tmp_path)
    monkeypatch.setattr(stage, "save_backbone", full)
    with pytest.raises(BadInput, match="no space left on the disk while writing"):
        train(run, images)
    assert not run.path("backbone.pt").exists()
