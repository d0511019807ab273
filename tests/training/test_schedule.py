"""Schedules against the released code's values, and by hand."""

import numpy as np
import pytest
import torch

from pipelines.training.schedule import learning_rate_factor, make_optimizer, set_learning_rate


def test_warmup_multistep_equals_the_released_code(shared):
    with np.load(shared("golden/lr.npz")) as golden:
        ours = [
            float(golden["base_lr"])
            * learning_rate_factor(
                epoch,
                schedule="multistep",
                total=120,
                milestones=golden["milestones"].tolist(),
                gamma=float(golden["gamma"]),
                warmup=int(golden["warmup_iters"]),
                warmup_factor=float(golden["warmup_factor"]),
            )
            for epoch in range(121)
        ]
        np.testing.assert_allclose(ours, golden["lr"], rtol=1e-12)


@pytest.mark.parametrize("time, factor", [(0, 0.5), (1, 0.75), (2, 1), (6, 0.5), (10, 0), (99, 0)])
def test_cosine_by_hand(time, factor):
    found = learning_rate_factor(time, schedule="cosine", total=10, warmup=2, warmup_factor=0.5)
    assert found == pytest.approx(factor, abs=1e-12)


def test_constant_stays_after_warmup():
    factors = [
        learning_rate_factor(t, schedule="constant", total=4, warmup=2, warmup_factor=0)
        for t in range(4)
    ]
    assert factors == [0, 0.5, 1, 1]


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_optimizer_takes_its_rate(kind):
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = make_optimizer(kind, [parameter], lr=1.0, momentum=0.9, weight_decay=0.0)
    set_learning_rate(optimizer, 0.25)
    parameter.grad = torch.ones(1)
    optimizer.step()
    assert parameter.item() == pytest.approx(0.75)  # the first step of either is the rate itself
