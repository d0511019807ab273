"""Choose a torch device (`auto`, `cpu`, `cuda[:i]`, `mps`) and ask what it supports."""

import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BadInput

if TYPE_CHECKING:
    import torch

DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def choose_device(name: str = "auto") -> "torch.device":
    """Return the device called `name`; `auto` takes CUDA, then MPS, then the CPU.

    Raises:
        BadInput: the name is not one of ours, or this machine has no such device.
    """
    require_device_name(name)
    import torch

    if name == "auto" and not torch.cuda.is_available():
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(own_cuda() if name in ("auto", "cuda") else name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BadInput(
            f"--device {device}: PyTorch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
            "devices here; use --device cpu, or install a CUDA build of torch and its driver"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise BadInput(f"--device {name}: PyTorch sees no Metal device here; use --device cpu")
    return device


def own_cuda() -> str:
    """Return the CUDA device of this process: of several on a machine, as torchrun numbers them."""
    rank = os.environ.get("LOCAL_RANK", "")
    return f"cuda:{rank}" if rank.isdigit() else "cuda"


def require_device_name(name: str) -> None:
    """Raise BadInput where it is no device's name, or no such device can be here; without torch."""
    if DEVICE.fullmatch(name) is None:
        raise BadInput(f"--device {name}: not a device; use auto, cpu, cuda, cuda:0 or mps")
    if name == "mps" and sys.platform != "darwin":
        raise BadInput("--device mps: it is of Apple's machines; use --device cpu or cuda here")
    if name.startswith("cuda") and sys.platform == "linux" and not has_gpu_driver():
        raise BadInput(
            f"--device {name}: this machine shows no GPU driver; use --device cpu, or install it"
        )


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def native_bfloat16() -> bool:
    """Return whether this machine's cores multiply bfloat16 (Linux tells)."""
    facts = Path("/proc/cpuinfo")
    flags = facts.read_text() if facts.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def has_gpu_driver() -> bool:
    """Return whether the driver of a GPU shows in this machine's files; torch is not loaded."""
    files = ("nvidiactl", "nvidia0", "nvhost-ctrl", "dxg", "kfd")  # NVIDIA, Jetson, WSL, AMD
    return any(Path("/dev", name).exists() for name in files)
