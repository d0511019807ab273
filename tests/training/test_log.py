"""The log holds every step once, and a loss that is no number stops the training."""

import pytest
import torch

from pipelines.errors import PipelineError
from pipelines.training.log import LogFiles, TrainLog, read_log, require_finite


def test_a_resumed_log_holds_every_step_once(tmp_path):
    path = tmp_path / "train.jsonl"
    with TrainLog(path, "train-backbone") as log:
        for step in (1, 2, 3):
            log.write(step, loss=float(step))
    with path.open("a") as file:
        file.write('{"stage": "train-backbone", "st')  # what a kill leaves
    with TrainLog(path, "train-backbone", after=2) as log:
        log.write(3, loss=0.5)
    assert [line["loss"] for line in read_log(path, "train-backbone")] == [1, 2, 0.5]


def test_another_stages_lines_stay(tmp_path):
    path = tmp_path / "train.jsonl"
    with TrainLog(path, "train-backbone") as log:
        log.write(1, loss=1.0)
    with TrainLog(path, "train-nformer") as log:
        log.write(1, loss=2.0)
    with TrainLog(path, "train-nformer"):
        pass
    assert read_log(path, "train-nformer") == []
    assert len(read_log(path, "train-backbone")) == 1


def test_a_finite_loss_is_returned():
    assert require_finite(torch.tensor(1.5, requires_grad=True), 3) == 1.5


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_loss_that_is_not_finite_names_the_step(value):
    with pytest.raises(PipelineError, match=rf"the loss is {value} at step 7: .*--set lr="):
        require_finite(torch.tensor(float(value)), 7)


def test_tensorboard_has_the_same_figures_beside_it(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    files = LogFiles(tmp_path / "train.jsonl", tensorboard=True)
    with TrainLog(files, "train-nformer") as log:
        for step in (1, 2, 3):
            log.write(step, loss=step / 4, epoch="one")
    with TrainLog(files, "train-nformer", after=2) as log:
        log.write(3, loss=0.5)
    events = EventAccumulator(str(tmp_path / "tensorboard" / "train-nformer"))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("loss")]
    assert found == [(1, 0.25), (2, 0.5), (3, 0.5)]
