"""safetensors: named tensors and a little text, with nothing in them that could be run."""

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadInput, blaming

if TYPE_CHECKING:
    from torch import Tensor

HEADER_LIMIT = 100_000_000  # bytes, the format's own


def load_safetensors(path: Path) -> dict[str, "Tensor"]:
    """Return a file's tensors, on the CPU.

    Raises:
        BadInput: the package is not installed, or the file is truncated or none of its format.
    """
    library = _library(f"{path} needs")
    with blaming(path, saying="cannot be read as safetensors: it is truncated or another format"):
        found: dict[str, Tensor] = library.load_file(path, device="cpu")
    return found


def safetensors_metadata(path: Path) -> dict[str, str]:
    """Return the texts in a file's header, without its library; none of another format's file."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if size < HEADER_LIMIT else {}
        return {str(key): str(text) for key, text in header.get("__metadata__", {}).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def safetensors_bytes(tensors: Mapping[str, "Tensor"], *, metadata: Mapping[str, str]) -> bytes:
    """Return the content of a file of these tensors and texts, the same for the same tensors.

    Raises:
        BadInput: the package is not installed.
    """
    library = _library("--format safetensors needs")
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    content: bytes = library.save(whole, {"format": "pt", **metadata})
    size = int.from_bytes(content[:8], "little")  # of the header, JSON and blanks
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))  # else in any order
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    assert len(text) <= size
    return content[:8] + text.ljust(size) + content[8 + size :]


def _library(who: str) -> Any:
    try:
        return import_module("safetensors.torch")
    except ImportError:
        raise BadInput(f"{who} safetensors: python -m pip install 'nformer[safetensors]'") from None
