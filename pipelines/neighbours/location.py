"""Choose the device of a search, without loading torch where the search runs on the CPU."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..device import has_gpu_driver

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class HostDevice:
    """A device for rows that lie in host memory; like a torch.device, without loading torch."""

    type: str
    index: int | None = None

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"


def search_device(given: Any, device: str) -> "torch.device | HostDevice":
    """Return where to search: the tensor's device, or the one asked for."""
    if hasattr(given, "detach") and device == "auto":
        return given.device if given.device.type != "cpu" else HostDevice("cpu")
    if device == "cpu" or (device == "auto" and not gpu_possible()):
        return HostDevice("cpu")
    from ..device import choose_device

    chosen = choose_device(device)
    return HostDevice(
        "cpu" if chosen.type == "mps" and device == "auto" else chosen.type, chosen.index
    )


def gpu_possible() -> bool:
    """Return whether a look for CUDA is worth loading torch."""
    return "torch" in sys.modules or has_gpu_driver()
