"""Backbone and NFormer in turn: whose epochs see what, and the same bytes after any kill."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nformer_cli.main import main  # noqa: F401  # what the processes below run
from pipelines import Run, evaluate, load_embeddings, train_backbone
from pipelines.artifacts.backbone import load_backbone
from pipelines.artifacts.nformer import load_nformer
from pipelines.config import BackboneConfig, EvaluateConfig, NFormerConfig
from pipelines.data.synthetic.dataset import write_synthetic
from pipelines.device import choose_device
from pipelines.errors import BadInput, PipelineError
from pipelines.files import file_digest
from pipelines.stages import train as stage
from pipelines.stages.early import in_turn
from pipelines.stages.report import command_of
from pipelines.stages.train import NFormerInTurn, train
from pipelines.training.log import read_log
from pipelines.training.nformer import Trainer

BACKBONE = BackboneConfig(
    arch="shufflenet_v2_x0_5", weights="none", height=32, width=16, dim=8, epochs=3, batch=8,
    instances=2, amp="off", workers=1, warmup_epochs=1, milestones=(2,),
)  # fmt: skip
NFORMER = NFormerConfig(closed_form=False, neighbours=5, batch=32, layers=2, lr=1e-3, amp="off")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return write_synthetic(folder, train_identities=12, test_identities=3, height=32, width=16)


def in_turns(run, images, **settings):
    given = {"root": images, "backbone": BACKBONE, "nformer": NFORMER, "device": "cpu"}
    return train(run, "synthetic", **given | settings)


def digests(run):
    names = ("backbone.pt", "nformer.pt", "embeddings.h5")
    return {name: file_digest(run.path(name)) for name in names}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, images):
    """Return a run trained in turn, and the embeddings that each of NFormer's epochs was given."""
    run, seen = Run(tmp_path_factory.mktemp("run")), []
    after = NFormerInTurn.after_epoch

    def recorded(self, epochs, train):
        seen.append(train)
        after(self, epochs, train)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NFormerInTurn, "after_epoch", recorded)
        in_turns(run, images)
    return run, seen


def test_the_backbone_is_that_of_a_training_alone(trained, images, tmp_path):
    run, _ = trained
    alone = Run(tmp_path)
    train_backbone(alone, "synthetic", root=images, config=BACKBONE, device="cpu")
    ours, theirs = (load_backbone(one.path("backbone.pt"))[0].state_dict() for one in (run, alone))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_each_of_nformers_epochs_learns_from_the_backbone_of_that_epoch(trained, images):
    run, seen = trained
    assert len(seen) == 3
    assert np.abs(seen[0].features - seen[1].features).max() > 1e-3
    last = load_embeddings(run.path("embeddings.h5"), "train")
    assert np.allclose(seen[2].features, last.features, atol=1e-5)
    each = round(len(last) / NFORMER.batch)
    config = in_turn(NFORMER, BACKBONE, images=len(last))
    assert each > 1 and (config.steps, config.milestones) == (3 * each, (2 * each,))
    # The same by hand: one trainer whose batches are drawn of other embeddings in every epoch.
    trainer = Trainer(seen[0], None, config=config, device=choose_device("cpu"))
    for given in seen:
        trainer.batches.features = torch.nn.functional.normalize(torch.from_numpy(given.features))
        for _ in range(each):
            trainer.step()
            trainer.step_done += 1
    ours = load_nformer(run.path("nformer.pt")).state_dict()
    theirs = trainer.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    steps = [line["step"] for line in read_log(run.path("train.jsonl"), "train-nformer")]
    assert steps == list(range(1, 3 * each + 1))
    backbone = [line["step"] for line in read_log(run.path("train.jsonl"), "train-backbone")]
    assert backbone == list(range(1, len(backbone) + 1)) and len(backbone) > 3


def test_it_is_evaluated_by_the_papers_protocol_and_up_to_date_the_second_time(
    trained, images, recorder
):
    run, _ = trained
    result = evaluate(run, config=EvaluateConfig(protocol="paper", refine=("nfc", "nformer")))
    assert result.protocol == "paper"
    assert [row.name for row in result.results] == ["baseline", "nfc,nformer"]
    whole = evaluate(run, config=EvaluateConfig(protocol="paper", every=True), overwrite=True)
    protocols = {row.name: row.protocol for row in whole.results}
    assert protocols["nformer"] == "paper" and protocols["nfc"] == "isolated"
    assert protocols["nformer+kr"] == "joint"
    before = digests(run)
    in_turns(run, images, progress=recorder)
    assert digests(run) == before and f"{run.path('nformer.pt')} is up to date" in recorder.messages


def test_the_report_has_the_command_for_both(trained):
    run, _ = trained
    line = command_of(run, "backbone.pt")
    assert line.startswith("nformer train synthetic --root ")
    for part in ("backbone.epochs=3", "nformer.batch=32", "nformer.layers=2", "backbone.dim=8"):
        assert f"--set {part}" in line
    assert "nformer.steps" not in line and command_of(run, "nformer.pt") == ""


def test_what_is_damaged_is_made_again_by_the_command_that_made_it(trained, tmp_path):
    shutil.copytree(trained[0].folder, tmp_path / "run")
    run = Run(tmp_path / "run")
    run.path("nformer.pt").write_bytes(b"cut")
    with pytest.raises(BadInput, match="nformer train DATASET"):
        run.artifact("nformer.pt")


def test_a_training_whose_nformer_is_lost_is_not_made_up(images, tmp_path, monkeypatch):
    run = Run(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "extract", lambda *args, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            in_turns(run, images)
    run.clear_scratch("nformer.pt")
    with pytest.raises(
        PipelineError, match=r"NFormer's state after epoch 0 .*nformer train DATASET"
    ):
        in_turns(run, images)
    in_turns(run, images, overwrite=True)


def test_an_interrupted_training_is_not_gone_on_with_by_another(images, tmp_path, monkeypatch):
    """One of another learning rate of the backbone begins both afresh."""
    run, after = Run(tmp_path / "run"), NFormerInTurn.after_epoch

    def interrupted(self, epochs, train):
        after(self, epochs, train)
        if epochs == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(NFormerInTurn, "after_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            in_turns(run, images, backbone=replace(BACKBONE, lr=1e-2))
    with pytest.raises(BadInput, match="interrupted at epoch 2 of 3 with other settings"):
        in_turns(run, images)
    in_turns(run, images, overwrite=True)
    whole = Run(tmp_path / "whole")
    in_turns(whole, images)
    assert digests(run) == digests(whole)


def test_a_closed_form_is_refused(images, tmp_path):
    with pytest.raises(BadInput, match="starts from no closed form"):
        in_turns(Run(tmp_path), images, nformer=replace(NFORMER, closed_form=True))


LINE = (
    "train synthetic --arch shufflenet_v2_x0_5 --weights none --height 32 --width 16 --epochs 8 "
    "--set backbone.batch=8 --set backbone.instances=2 --set dim=8 --set backbone.amp=off "
    "--set workers=1 --set nformer.batch=32 --set nformer.layers=2 --device cpu"
)


@pytest.mark.slow
def test_killed_three_times_it_ends_with_the_same_bytes(images, tmp_path):
    """SIGKILL at random moments of the alternation, and the same command again."""

    def started(folder):
        command = [sys.executable, "-m", "nformer_cli.main", *LINE.split(), "--root", str(images)]
        return subprocess.Popen([*command, "--run", str(folder)], stderr=subprocess.PIPE)

    assert started(tmp_path / "whole").wait(300) == 0
    draw, killed = random.Random(0), 0
    for _ in range(3):
        process = started(tmp_path / "killed")
        states = Path(tmp_path, "killed", ".unfinished")
        already = {path.name for path in states.rglob("*.pt")}
        patience = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < patience:
            if {path.name for path in states.rglob("*.pt")} - already:
                break
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.4))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait(60)
    assert killed == 3
    assert started(tmp_path / "killed").wait(300) == 0
    assert digests(Run(tmp_path / "killed")) == digests(Run(tmp_path / "whole"))
