"""A restored training goes on exactly where the saved one stood."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from pipelines.training.state import load_state, save_state


def make(optimizer):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    kinds = {
        "sgd": lambda: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "adam": lambda: torch.optim.Adam(model.parameters(), lr=0.01),
    }
    generator = torch.Generator().manual_seed(3)
    parts = {
        "modules": {"model": model},
        "optimizers": {"model": kinds[optimizer]()},
        "generators": {"data": generator},
    }
    return model, parts


def train(model, parts, steps):
    optimizer = parts["optimizers"]["model"]
    for _ in range(steps):
        batch = torch.randn(8, 3, generator=parts["generators"]["data"])
        loss = model(batch).square().mean() * (1 + random.random() + np.random.rand())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_resumed_training_equals_the_uninterrupted_one_bit_for_bit(tmp_path, optimizer):
    model, parts = make(optimizer)
    train(model, parts, 3)
    save_state(tmp_path / "state.pt", key="a", counters={"epoch": 3}, **parts)
    train(model, parts, 3)

    resumed, parts = make(optimizer)
    torch.manual_seed(99), random.seed(99), np.random.seed(99)
    counters = load_state(tmp_path / "state.pt", key="a", **parts)
    train(resumed, parts, 3)

    assert counters == {"epoch": 3}
    for name, value in model.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_no_state_or_another_trainings_state_starts_afresh(tmp_path):
    _, parts = make("sgd")
    assert load_state(tmp_path / "state.pt", key="a", **parts) is None
    save_state(tmp_path / "state.pt", key="b", counters={}, **parts)
    assert load_state(tmp_path / "state.pt", key="a", **parts) is None


@pytest.mark.parametrize("damage", ["a flipped bit", "cut"])
def test_a_damaged_state_is_dropped_and_said(tmp_path, caplog, damage):
    model, parts = make("sgd")
    save_state(tmp_path / "state.pt", key="a", counters={}, **parts)
    (state,) = tmp_path.glob("state.*.pt")
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content if damage == "a flipped bit" else content[:-9])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert load_state(tmp_path / "state.pt", key="a", **parts) is None
    assert "is damaged: it is dropped" in caplog.text and not list(tmp_path.iterdir())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_momentum_keeps_its_parameters_memory_layout(tmp_path):
    def trained(convolution: nn.Module, steps: int) -> torch.optim.SGD:
        optimizer = torch.optim.SGD(convolution.parameters(), lr=0.1, momentum=0.9, fused=True)
        for step in range(steps):
            advance(convolution, optimizer, step)
        return optimizer

    def advance(convolution: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        images = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        convolution(images).square().sum().backward()
        optimizer.step()

    def fresh() -> nn.Module:
        torch.manual_seed(0)
        return nn.Conv2d(4, 3, 3).to(memory_format=torch.channels_last)

    calm = fresh()
    trained(calm, 3)
    stopped = fresh()
    optimizer = trained(stopped, 2)
    parts = {"modules": {"c": stopped}, "optimizers": {"o": optimizer}}
    save_state(tmp_path / "state.pt", key="k", counters={}, **parts)
    resumed = fresh()
    optimizer = trained(resumed, 0)
    parts = {"modules": {"c": resumed}, "optimizers": {"o": optimizer}}
    assert load_state(tmp_path / "state.pt", key="k", **parts) == {}
    advance(resumed, optimizer, 2)
    assert torch.equal(resumed.weight, calm.weight)
