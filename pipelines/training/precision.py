"""Choose mixed precision and memory layout by what the device is fast at."""

from contextlib import AbstractContextManager
from typing import Literal, TypeVar

import torch
from torch import nn

from ..errors import BadInput

M = TypeVar("M", bound=nn.Module)
Precision = Literal["off", "bf16", "fp16"]
DTYPES = {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
WIDE_ENOUGH = 64  # pixels


def choose_precision(
    amp: str,
    device: torch.device,
    *,
    network: nn.Module | None = None,
    image_width: int = WIDE_ENOUGH,
) -> Precision:
    """Return what `--set amp=…` means on a device; `auto` takes bf16 only where it serves.

    network: what is to compute. `auto` leaves depthwise networks in float32: bf16 costs their
             embeddings precision (a fine-tuned MobileNetV2's have a cosine of 0.990 with those of
             float32), and on CPUs trains them slower (117 against 202 images/s).
    image_width: in pixels. On CPUs `auto` leaves narrower images than `WIDE_ENOUGH` in float32:
             with AMX, PyTorch 2.14.1 computes bf16 convolutions of stride 2 wrongly, NaN included,
             where a map is at most two wide.

    Raises:
        BadInput: fp16 is asked for on the CPU, where it is slow and overflows.
    """
    if amp == "fp16" and device.type == "cpu":
        raise BadInput("amp = fp16 does not serve on the CPU; use amp=bf16, amp=off or amp=auto")
    if amp == "auto":
        if network is not None and _is_depthwise(network):
            return "off"
        if device.type == "cpu" and image_width < WIDE_ENOUGH:
            return "off"
        return _fast_precision(device)
    assert amp in DTYPES
    return amp  # type: ignore[return-value]


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return the context that a forward pass runs in."""
    enabled = precision != "off"
    dtype = DTYPES[precision] if enabled else None
    return torch.autocast(device.type, dtype=dtype, enabled=enabled)


def channels_last(module: M, device: torch.device) -> M:
    """Move a network to a device, its convolutions laid out as CPUs and tensor cores like."""
    if device.type in ("cpu", "cuda"):
        return module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module.to(device)


def _is_depthwise(network: nn.Module) -> bool:
    convolutions = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    return any(module.groups == module.in_channels > 1 for module in convolutions)


def _fast_precision(device: torch.device) -> Precision:
    if device.type == "cuda":
        major, _ = torch.cuda.get_device_capability(device)
        if major >= 8:  # Ampere: the first with bf16 tensor cores
            return "bf16"
        return "fp16" if major == 7 else "off"
    if device.type == "cpu" and torch.backends.mkldnn.is_available():
        capabilities = (
            torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        )
        if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"):
            return "bf16"
        probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # before get_capabilities
        return "bf16" if probe is not None and probe() else "off"
    return "off"
