"""Choose a torch device (`auto`, `cpu`, `cuda[:i]`, `mps`) and ask what it supports."""

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BadInput

if TYPE_CHECKING:
    import torch


def choose_device(name: str = "auto") -> "torch.device":
    """Return the device called `name`; `auto` takes CUDA, then MPS, then the CPU.

    Raises:
        BadInput: the name is not one of ours, or this machine has no such device.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise BadInput(f"--device {name}: not a device; use auto, cpu, cuda, cuda:0 or mps")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BadInput(
            f"--device {name}: PyTorch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
            "devices here; use --device cpu, or install a CUDA build of torch and its driver"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise BadInput(f"--device {name}: PyTorch sees no Metal device here; use --device cpu")
    return device


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
    return any(Path(path).exists() for path in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd"))
