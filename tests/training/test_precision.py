"""bf16 only where it is fast, fp16 never on the CPU."""

import pytest
import torch
from torch import nn

from pipelines.errors import BadInput
from pipelines.training.precision import autocast, channels_last, choose_precision

CPU = torch.device("cpu")


def test_fp16_is_refused_on_the_cpu():
    with pytest.raises(BadInput, match="fp16 does not serve on the CPU; use amp=bf16"):
        choose_precision("fp16", CPU)


@pytest.mark.parametrize("able, wanted", [(True, "bf16"), (False, "off")])
def test_auto_asks_the_processor(monkeypatch, able, wanted):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": able}, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: able, raising=False)
    assert choose_precision("auto", CPU) == wanted
    assert choose_precision("auto", CPU, image_width=64) == wanted
    assert choose_precision("auto", CPU, image_width=63) == "off"  # where bf16 may be wrong
    assert choose_precision("bf16", CPU, image_width=16) == "bf16"


@pytest.mark.parametrize("major, wanted", [(9, "bf16"), (8, "bf16"), (7, "fp16"), (6, "off")])
def test_auto_asks_the_gpu(monkeypatch, major, wanted):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (major, 0))
    assert choose_precision("auto", torch.device("cuda")) == wanted


def test_depthwise_networks_compute_in_float32_unless_told_otherwise():
    depthwise = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4))
    assert choose_precision("auto", CPU, network=depthwise) == "off"
    assert choose_precision("bf16", CPU, network=depthwise) == "bf16"


@pytest.mark.parametrize("precision, dtype", [("off", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_computes_in_the_precision(precision, dtype):
    with autocast(CPU, precision):
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


def test_channels_last_lays_out_the_weights():
    weight = channels_last(nn.Conv2d(4, 4, 3), CPU).weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
