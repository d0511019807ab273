""".pt dictionaries of tensors: mapped into memory, loaded with `weights_only=True`."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...embeddings import SPLITS, row_blocks
from ...errors import BadInput
from ..checkpoints import load_untrusted
from ..foreign_objects import Ignored
from .keys import Warn
from .split import FileSplit, rows_per_block, splits_of

if TYPE_CHECKING:
    from torch import Tensor


def read_pt(path: Path, warn: Warn, *, labelled: bool) -> list[FileSplit]:
    """Read `{split}_{features,pids,camids,names}`, or a dictionary of those a split."""
    content = load_untrusted(path, what="embeddings", mmap=zipfile.is_zipfile(path))
    if not isinstance(content, dict):
        raise BadInput(
            f"{path} holds a {type(content).__name__}; a dictionary of tensors is wanted"
        )
    return splits_of(TorchFile(path, _flat(content)), warn, labelled=labelled)


def _flat(content: dict[Any, Any]) -> dict[str, Any]:
    """Return {"query": {"pids": x}} as {"query_pids": x}."""
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key in SPLITS and isinstance(value, dict):
            values.update({f"{key}_{field}": inner for field, inner in value.items()})
        else:
            values[str(key)] = value
    return {key: value for key, value in values.items() if not isinstance(value, Ignored)}


class TorchFile:
    """The tensors, arrays and lists of a .pt, by name."""

    def __init__(self, path: Path, values: dict[str, Any]) -> None:
        self.path, self.values = path, values

    def keys(self) -> list[str]:
        """Return the names."""
        return list(self.values)

    def shape(self, key: str) -> tuple[int, ...]:
        """Return a tensor's shape, or a list's length."""
        return tuple(np.shape(self.values[key]))

    def dtype(self, key: str) -> str:
        """Return a tensor's type of numbers."""
        return str(self._tensor(key).dtype).removeprefix("torch.")

    def _tensor(self, key: str) -> "Tensor":
        import torch

        features = self.values[key]
        if isinstance(features, np.ndarray) and features.dtype.kind == "f":
            features = torch.from_numpy(np.ascontiguousarray(features))
        if not isinstance(features, torch.Tensor) or features.layout is not torch.strided:
            found = getattr(features, "layout", type(features).__name__)
            raise BadInput(
                f"{self.path}, {key}: the features are a {found}; a dense tensor is wanted"
            )
        return features

    def whole(self, key: str) -> Any:
        """Return labels."""
        return self.values[key]

    def rows(self, key: str, *, turned: bool) -> Iterator[np.ndarray]:
        """Yield the rows of a matrix or of its transpose."""
        import torch

        features = self._tensor(key)
        features = features[None] if features.ndim == 1 else features
        features = features.T if turned else features
        width = features.shape[1] * features.element_size()
        for block in row_blocks(len(features), rows_per_block(width)):
            rows = features[block].detach()
            yield (rows.float() if rows.dtype == torch.bfloat16 else rows).numpy()

    def texts(self, key: str) -> Iterator[str]:
        """Yield the items of a list of text."""
        names = self.values[key]
        names = names.tolist() if isinstance(names, np.ndarray) else names
        if not isinstance(names, list | tuple) or not all(isinstance(one, str) for one in names):
            raise BadInput(f"{self.path}, {key}: the names must be a list of text")
        return iter(names)
