import dataclasses

import numpy as np
import pytest
import torch
from helpers.people import scattered

from pipelines.config import NFormerConfig
from pipelines.embeddings import Embeddings
from pipelines.errors import PipelineError
from pipelines.progress import Silent
from pipelines.training.held_out import HeldOut, split_identities
from pipelines.training.log import read_log
from pipelines.training.nformer import STAGE, Trainer, contiguous_labels

CPU = torch.device("cpu")
SMALL = NFormerConfig(
    closed_form=False,
    layers=2,
    neighbours=5,
    landmarks=3,
    batch=48,
    instances=4,
    steps=6,
    eval_every=2,
    warmup_steps=1,
)


def people(identities=24, images=6, dim=12, first=0, seed=0):
    """Embeddings of some people, scattered around a centre of each, seen by three cameras."""
    random = np.random.default_rng(seed)
    pids = np.repeat(np.arange(identities), images)
    features = scattered(pids, width=dim, noise=0.8, random=random)
    return Embeddings(features, pids + first, np.arange(len(pids)) % 3)


def trainer_of(config=SMALL):
    training, apart = split_identities(people(), share=config.held_out, seed=config.seed)
    return Trainer(training, HeldOut.of(apart, seed=0), config=config, device=CPU)


def test_a_training_that_was_interrupted_ends_with_the_same_bits(tmp_path, monkeypatch):
    whole = trainer_of().run(tmp_path, tmp_path / "whole.jsonl", key="one", progress=Silent())
    (state,) = tmp_path.glob("state.*.pt")
    state.unlink()
    first, steps = trainer_of(), []
    plain_step = Trainer.step

    def dying_step(self):
        if len(steps) == 5:
            raise KeyboardInterrupt
        steps.append(self.step_done)
        return plain_step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", dying_step)
        with pytest.raises(KeyboardInterrupt):
            first.run(tmp_path, tmp_path / "parts.jsonl", key="one", progress=Silent())
    again = trainer_of()
    resumed = again.run(tmp_path, tmp_path / "parts.jsonl", key="one", progress=Silent())
    assert resumed.checks == whole.checks and resumed.best_step == whole.best_step
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    logs = [read_log(tmp_path / name, STAGE) for name in ("whole.jsonl", "parts.jsonl")]
    assert logs[0] == logs[1]
    assert [line["step"] for line in logs[0] if "loss" in line] == [1, 2, 3, 4, 5, 6]


def test_a_checkpoint_of_another_training_is_not_gone_on_from(tmp_path, recorder):
    trainer_of().run(tmp_path, tmp_path / "log.jsonl", key="one", progress=recorder)
    trainer_of().run(tmp_path, tmp_path / "log.jsonl", key="two", progress=recorder)
    assert not recorder.messages
    assert recorder.counted["train NFormer"] == 6


def test_the_best_step_is_kept(tmp_path, monkeypatch):
    """The check says 0.1, 0.9, 0.5, 0.4: step 2's weights are the result."""
    answers = iter([0.1, 0.9, 0.5, 0.4])
    weights = {}

    def check(self, model, **_):
        weights[len(weights)] = {key: value.clone() for key, value in model.state_dict().items()}
        return next(answers)

    monkeypatch.setattr(HeldOut, "refined", check)
    trained = trainer_of().run(tmp_path, tmp_path / "log.jsonl", key="k", progress=Silent())
    assert (trained.best_step, trained.best) == (2, 0.9)
    for name, value in trained.model.state_dict().items():
        assert torch.equal(value, weights[1][name])


def test_training_learns(tmp_path):
    config = NFormerConfig(
        layers=2, neighbours=5, batch=96, steps=40, warmup_steps=5, eval_every=0, lr=3e-3
    )
    trainer = Trainer(people(), None, config=config, device=CPU)
    trainer.run(tmp_path, tmp_path / "log.jsonl", key="k", progress=Silent())
    losses = [line["loss"] for line in read_log(tmp_path / "log.jsonl", STAGE)]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_a_loss_that_is_not_finite_names_its_step(tmp_path):
    trainer = trainer_of(NFormerConfig(**{**vars(SMALL), "lr": 1e30, "warmup_steps": 0}))
    with pytest.raises(PipelineError, match=r"the loss is (nan|inf) at step [2-6]"):
        trainer.run(tmp_path, tmp_path / "log.jsonl", key="k", progress=Silent())


def test_the_global_random_state_is_left_alone(tmp_path):
    trainer = trainer_of()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    trainer.run(tmp_path, tmp_path / "log.jsonl", key="k", progress=Silent())
    assert torch.equal(torch.rand(1), expected)


def test_labels_are_numbered_from_sorted_identities():
    pids = np.array([7, 2, 7, 40])
    labels, classes = contiguous_labels(Embeddings(np.eye(4), pids, np.zeros(4, int)))
    assert labels.tolist() == [1, 0, 1, 2] and classes == 3


@pytest.mark.parametrize(
    "identities,share,held",
    [(100, 0.15, 15), (40, 0.15, 8), (32, 0.01, 8), (10, 0.15, 2), (3, 0.15, 0), (50, 0.0, 0)],
)
def test_how_many_identities_are_held_out(identities, share, held):
    train = people(identities=identities, images=4)
    training, apart = split_identities(train, share=share, seed=0)
    found = set() if apart is None else set(apart.pids.tolist())
    assert len(found) == held
    assert len(training) + 4 * held == len(train)
    assert not found & set(training.pids.tolist())


def test_a_held_out_query_is_one_image_of_each_identity_and_camera():
    held_out = HeldOut.of(people(identities=4, images=6), seed=0)
    assert len(held_out.query) == 12 and len(held_out.gallery) == 12
    pairs = set(zip(held_out.query.pids.tolist(), held_out.query.camids.tolist(), strict=True))
    assert len(pairs) == 12


def test_with_one_image_a_camera_a_held_out_query_is_one_image_of_each_identity():
    three = people(identities=4, images=3)
    one_each = Embeddings(three.features, three.pids, np.arange(12) % 3)
    held_out = HeldOut.of(one_each, seed=0)
    assert sorted(held_out.query.pids.tolist()) == np.unique(one_each.pids).tolist()
    assert len(held_out.gallery) == 8


def test_identities_of_one_camera_cannot_be_checked():
    alone = people(identities=4, images=6)
    one_camera = Embeddings(alone.features, alone.pids, np.zeros(len(alone), int))
    assert HeldOut.of(one_camera, seed=0) is None
    unknown = Embeddings(alone.features, alone.pids, np.full(len(alone), -1))
    assert HeldOut.of(unknown, seed=0) is not None


def test_steps_in_bfloat16_are_near_those_in_float32_and_are_not_them():
    exact = trainer_of(dataclasses.replace(SMALL, amp="off")).step()
    rounded = trainer_of(dataclasses.replace(SMALL, amp="bf16")).step()
    assert float(rounded["loss"]) == pytest.approx(float(exact["loss"]), rel=1e-2)
    assert float(rounded["loss"]) != float(exact["loss"])
