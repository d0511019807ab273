from importlib.util import find_spec

import numpy as np
import pytest
import torch

from pipelines.benchmarks.child import measured
from pipelines.benchmarks.dense import dense_forward
from pipelines.benchmarks.nformer import crowd, trained_like
from pipelines.benchmarks.record import Record
from pipelines.benchmarks.registry import BENCHMARKS, measure, record_path
from pipelines.errors import BadInput, PipelineError


def test_a_case_runs_in_a_process_of_its_own_and_agrees_with_the_dense_computation():
    found = measured("nformer", "inference", rows=120, dense=True, repeats=1)
    assert found["difference"] < 1e-4
    assert found["seconds"] > 0 and found["rss"] > found["start"] > 0


def test_the_dense_training_step_has_the_same_logits():
    model, rows = trained_like().train(), torch.from_numpy(crowd(100))
    for block in model.layers():
        block.dropout.p = 0.0
    landmarks = torch.arange(20).view(4, 5)
    dense, _ = dense_forward(model, rows, landmarks=landmarks)
    sparse, _ = model(rows, landmarks=landmarks)
    assert torch.allclose(dense, sparse, atol=1e-5)


def test_the_crowd_is_confused_but_not_random():
    rows = crowd(2000)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    lists = np.argsort(-rows @ rows.T, axis=1)[:, :20]
    listed = np.zeros((2000, 2000), bool)
    np.put_along_axis(listed, lists, True, axis=1)
    assert 0.4 < (listed & listed.T).sum() / listed.sum() < 0.9


def test_a_record_is_a_markdown_table():
    text = Record("Speed", ["", "s"], [["one", "2"]], ["A note."]).markdown("nformer benchmark x")
    assert "| one | 2 |" in text and text.startswith("# Speed\n") and text.endswith("A note.\n")
    assert "`nformer benchmark x`" in text


def test_names():
    with pytest.raises(BadInput, match="known are .*nformer"):
        measure("speed")
    for name in BENCHMARKS:
        assert find_spec(f"pipelines.benchmarks.{name.partition('-')[0]}") is not None
        assert record_path(name).suffix == ".md"


def test_a_measurement_that_fails_says_why():
    with pytest.raises(PipelineError, match="the measurement inference .* failed: TypeError"):
        measured("nformer", "inference", row=3)
