"""Checkpoints: tensors plus JSON in one file, read with `weights_only=True`."""

import json
import pickle
from collections.abc import Mapping
from contextlib import suppress
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BadInput, blaming
from ..files import require_file, writing_to
from .foreign_objects import Ignored, stand_ins, with_tensors
from .safetensors_files import load_safetensors

if TYPE_CHECKING:
    from torch import Tensor

LOG = getLogger("nformer")
MOST = 5  # classes that a warning lists


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
    import torch

    content = load_untrusted(path, lenient=False)
    foreign = f"{path} is not a checkpoint of nformer's: it was written by another program"
    if not isinstance(content, dict) or set(content) != {"meta", "tensors"}:
        raise BadInput(foreign)
    tensors = content["tensors"]
    with blaming(path, saying="is not a whole checkpoint of nformer's"):
        meta = json.loads(content["meta"])
    if not isinstance(meta, dict) or not isinstance(tensors, dict):
        raise BadInput(foreign)
    if not all(isinstance(one, torch.Tensor) for one in tensors.values()):
        raise BadInput(foreign)
    return tensors, meta


def require_sizes(path: Path, sizes: Mapping[str, Any], *, tensors: Mapping[str, "Tensor"]) -> None:
    """Raise BadInput where the sizes that a file states are not its tensors': building by them
    could take any memory.

    sizes: with dim, classes and, of an NFormer, layers, heads and cameras.
    """
    blocks = {name.split(".")[1] for name in tensors if name.startswith("blocks.")}
    known = {
        "dim": tensors["classifier.weight"].shape[1],
        "classes": tensors["classifier.weight"].shape[0],
        "layers": max(len(blocks), 1),
        "cameras": len(tensors.get("closed_form.cameras", ())),
    }
    for key, found in known.items():
        if sizes.get(key, found) != found:
            raise BadInput(f"{path} states {key} = {sizes[key]}, and its tensors have {found}")
    if not 1 <= sizes.get("heads", 1) <= 64:
        raise BadInput(f"{path} states heads = {sizes['heads']}; from 1 to 64 is wanted")


def load_untrusted(
    path: Path, *, what: str = "weights", mmap: bool = False, lenient: bool = True
) -> Any:
    """Return what a `.pt` file from anywhere holds, tensors on the CPU, running no code of it.

    A `.safetensors` file is read by its package.

    mmap:    leave the tensors on the disk until they are read (not for files of before PyTorch
             1.6).
    lenient: take NumPy's numbers and arrays too, and put `Ignored` in the place of every other
             object (Namespace, paths, configurations…), whose class is neither imported nor called;
             of a whole pickled network take the tensors.

    Raises:
        BadInput: no such file, or truncated.
    """
    import torch

    require_file(path, f"a file of {what} (.pt, .pth, .safetensors)")
    if path.suffix == ".safetensors":
        return load_safetensors(path)
    saying = f"cannot be read as {what}: it is truncated, no PyTorch file, or holds Python objects"
    with blaming(path, saying=saying):
        allowed, ignored = _allowed(path) if lenient else ([], [])
        try:
            with torch.serialization.safe_globals(allowed):
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        except pickle.UnpicklingError as error:  # whose text tells to let the file run code
            raise BadInput(f"{path} {saying} that are never run") from error
    if ignored:
        more = f" and {len(ignored) - MOST} more" if len(ignored) > MOST else ""
        text = f"{', '.join(ignored[:MOST])}{more}"
        LOG.warning("%s: ignored %s, which are no tensors", path, text)
    return with_tensors(content) if lenient else content


def _allowed(path: Path) -> tuple[list[Any], list[str]]:
    """Return what a file's classes are loaded as, and the names of those that are not read."""
    import torch
    from numpy._core import multiarray

    dtypes = [kind for kind in vars(np.dtypes).values() if isinstance(kind, type)]
    known: dict[str, Any] = {"numpy.ndarray": np.ndarray, "numpy.dtype": np.dtype}
    for core in ("numpy.core.multiarray", "numpy._core.multiarray"):  # before NumPy 2, and since
        known[f"{core}.scalar"] = multiarray.scalar
        known[f"{core}._reconstruct"] = multiarray._reconstruct
    known |= {f"numpy.dtypes.{kind.__name__}": kind for kind in dtypes}
    standing = {name: kind for name, kind in stand_ins(path).items() if name not in known}
    with suppress(ValueError):  # of a file of before PyTorch 1.6, whose classes it cannot list
        listed = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        standing = {name: standing.get(name, Ignored) for name in set(listed) - set(known)}
    allowed = [*known.items(), *standing.items()]
    return [(kind, name) for name, kind in allowed], sorted(standing)
