"""The default model says plainly what it kept of NFormer."""

import re

import numpy as np
import pytest
import torch

from pipelines.config import NFormerConfig
from pipelines.embeddings import Embeddings
from pipelines.errors import BadInput
from pipelines.progress import Silent
from pipelines.training.default_model import (
    told_of_gate,
    train_default_model,
    with_cameras_that_differ,
)


class Told(Silent):
    def __init__(self):
        self.said = []

    def message(self, text):
        self.said.append(text)

    warn = message


def test_what_a_gate_changed_is_said_beside_its_error():
    assert told_of_gate(0.002, error=0.003, kept=True) == (
        "Edge gate kept: held-out mAP +0.2 (standard error 0.3), no loss of more than 0.5 "
        "and of its error."
    )
    assert told_of_gate(0.01, error=0.003, kept=True) == (
        "Edge gate kept: held-out mAP +1.0 (standard error 0.3)."
    )
    assert told_of_gate(-0.01, error=0.003, kept=False) == (
        "No edge gate kept: held-out mAP or rank-1 fell with it (mAP -1.0, standard error 0.3)."
    )


def test_an_nformer_that_does_not_help_is_not_kept(tmp_path):
    random = np.random.default_rng(0)
    pids = np.repeat(np.arange(40), 4)
    features = random.normal(size=(40, 16))[pids] + 1.5 * random.normal(size=(160, 16))
    progress = Told()
    made = train_default_model(
        Embeddings(features.astype(np.float32), pids, np.tile(np.arange(4) % 2, 40)),
        NFormerConfig(steps=1, layers=1, heads=2, lr=0.0),
        device=torch.device("cpu"),
        folder=tmp_path,
        log=tmp_path / "log",
        key="key",
        progress=progress,
    )
    assert made.model.share == 0
    assert re.fullmatch(
        r"No NFormer kept: held-out mAP rose by no more than its error "
        r"\(\d+\.\d without, \d+\.\d with\)\. "
        r"The model is the closed form\.",
        progress.said[-1],
    )


def test_images_of_a_person_are_not_noted_of_identities_that_the_network_knows(tmp_path):
    random = np.random.default_rng(0)
    pids = np.repeat(np.arange(12), 6)
    features = random.normal(size=(12, 16))[pids] + random.normal(size=(72, 16))
    train = Embeddings(features.astype(np.float32), pids, np.tile(np.arange(6) % 2, 12))
    for seen in (False, True):
        made = train_default_model(
            train,
            NFormerConfig(held_out=0.0),
            device=torch.device("cpu"),
            folder=tmp_path / str(seen),
            log=tmp_path / "log",
            key="key",
            progress=Silent(),
            seen=seen,
        )
        assert made.facts["seen"] is seen
        assert (float(made.model.closed_form.images) == 0) is seen


def test_identities_that_one_camera_each_sees_are_matched_within_it():
    train = Embeddings(np.eye(4), [1, 1, 2, 2], [0, 0, 5, 5])
    told = Told()
    found = with_cameras_that_differ(train, NFormerConfig(), progress=told)
    assert found.camids.tolist() == [-1, -1, -1, -1]
    assert "each training identity is seen by one camera" in told.said[-1]
    both = Embeddings(np.eye(4), [1, 1, 2, 2], [0, 5, 5, 5])
    assert with_cameras_that_differ(both, NFormerConfig(), progress=told) is both
    with pytest.raises(BadInput, match="--camera-aware on needs training identities that two cam"):
        with_cameras_that_differ(train, NFormerConfig(camera_aware="on"), progress=told)
