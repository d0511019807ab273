"""Checkpoints: tensors plus JSON in one file, read with `weights_only=True`."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadInput
from ..files import writing_to

if TYPE_CHECKING:
    from torch import Tensor


def save_checkpoint(
    path: Path, tensors: Mapping[str, "Tensor"], *, meta: Mapping[str, Any]
) -> None:
    """Write named tensors (moved to the CPU) and JSON-able facts to `path` itself.

    Callers give a temporary path from `Run.writing` or `replacing`.
    """
    import torch

    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with writing_to(path) as file:  # given a path, torch would write its name into the bytes
        torch.save({"meta": json.dumps(meta, sort_keys=True), "tensors": kept}, file)  # type: ignore[arg-type]


def load_checkpoint(path: Path) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """Return a checkpoint's tensors, on the CPU, and its facts.

    Raises:
        BadInput: not a file, truncated, or not written by `save_checkpoint`.
    """
    content = load_untrusted(path)
    if not isinstance(content, dict) or set(content) != {"meta", "tensors"}:
        raise BadInput(
            f"{path} is not a checkpoint of nformer's: it was written by another program"
        )
    return content["tensors"], json.loads(content["meta"])


def load_untrusted(path: Path, *, what: str = "weights", mmap: bool = False) -> Any:
    """Return what a `.pt` file from anywhere holds, tensors on the CPU, running no code of it.

    mmap: leave the tensors on the disk until they are read (not for files of before PyTorch 1.6).

    Raises:
        BadInput: no such file, truncated, or it holds more than tensors and plain values.
    """
    import torch

    if not path.is_file():
        raise BadInput(f"{path} is not there; a file of {what} (.pt, .pth) is wanted")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except (RuntimeError, EOFError, OSError, KeyError, ValueError, pickle.UnpicklingError) as error:
        # Of PyTorch's own words the first sentence; the rest tells to let the file run code.
        reason = str(error).splitlines()[0].split(". ")[0] if str(error) else type(error).__name__
        raise BadInput(
            f"{path} cannot be read as {what}: {reason}. It is truncated, no PyTorch file, or "
            "holds Python objects beside tensors, which are never run"
        ) from error
