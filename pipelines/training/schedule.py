"""Learning rates over time, in epochs or in steps, and the optimisers they drive."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Literal

from torch.nn import Parameter
from torch.optim import SGD, Adam, Optimizer


def learning_rate_factor(
    time: float,
    *,
    schedule: Literal["multistep", "cosine", "constant"],
    total: int,
    milestones: Sequence[int] = (),
    gamma: float = 0.1,
    warmup: int = 0,
    warmup_factor: float = 0.01,
) -> float:
    """Return what the base learning rate is multiplied by at `time`.

    time, total, milestones and warmup are in one unit, epochs or steps, counted from 0.
    The factor rises linearly from `warmup_factor` to 1 over `warmup`; the schedule multiplies it:
    multistep by `gamma` from each milestone on, cosine down to 0 at `total` once warmed up.
    """
    factor = 1.0
    if time < warmup:
        factor = warmup_factor + (1 - warmup_factor) * time / warmup
    if schedule == "multistep":
        factor *= gamma ** bisect_right(sorted(milestones), time)
    elif schedule == "cosine" and time >= warmup:
        done = (time - warmup) / max(1, total - warmup)
        factor *= 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return factor


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Give every parameter group of an optimiser the rate `lr`, times its own `lr_scale` if any."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)


def make_optimizer(
    kind: Literal["sgd", "adam"],
    parameters: Iterable[Parameter],
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    fused: bool | None = None,
) -> Optimizer:
    """Return SGD with momentum or Adam, both with L2 weight decay (added to the gradient).

    fused: one kernel for all of a step's arithmetic; None: as torch chooses.
    """
    parameters = list(parameters)
    if kind == "sgd":
        return SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=fused)
    return Adam(parameters, lr=lr, weight_decay=weight_decay, fused=fused)
