""".pt dictionaries of tensors: mapped into memory, loaded with `weights_only=True`."""

import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...embeddings import SPLITS, row_blocks
from ...errors import BadInput
from ..checkpoints import load_untrusted
from .split import FileSplit, Warn, checked_split, keyed_fields, rows_per_block

if TYPE_CHECKING:
    from torch import Tensor


def read_pt(path: Path, warn: Warn) -> list[FileSplit]:
    """Read `{split}_{features,pids,camids,names}`, or a dictionary of those a split."""
    content = load_untrusted(path, what="embeddings", mmap=zipfile.is_zipfile(path))
    if not isinstance(content, dict):
        raise BadInput(
            f"{path} holds a {type(content).__name__}; a dictionary of tensors is wanted"
        )
    values = _flat(content)
    splits = []
    for split, fields in keyed_fields(path, list(values), warn=warn).items():
        given = {field: values[key] for field, key in fields.items()}
        splits.append(_split(path, split, given=given))
    return splits


def _flat(content: dict[Any, Any]) -> dict[str, Any]:
    """Return {"query": {"pids": x}} as {"query_pids": x}."""
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key in SPLITS and isinstance(value, dict):
            values.update({f"{key}_{field}": inner for field, inner in value.items()})
        else:
            values[str(key)] = value
    return values


def _split(path: Path, split: str, *, given: dict[str, Any]) -> FileSplit:
    import torch

    features, names = given["features"], given.get("names")
    if not isinstance(features, torch.Tensor) or features.layout is not torch.strided:
        found = getattr(features, "layout", type(features).__name__)
        raise BadInput(
            f"{path}, split {split}: the features are a {found}; a dense tensor is wanted"
        )
    if names is not None and not _are_texts(names):
        raise BadInput(f"{path}, split {split}: the names must be a list of text")
    return checked_split(
        path,
        split,
        shape=tuple(features.shape),
        dtype=str(features.dtype).removeprefix("torch."),
        blocks=partial(_blocks, features),
        pids=given["pids"],
        camids=given.get("camids"),
        names=None if names is None else partial(iter, names),
        names_count=None if names is None else len(names),
    )


def _are_texts(names: Any) -> bool:
    return isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)


def _blocks(features: "Tensor") -> Iterator[np.ndarray]:
    import torch

    width = features.shape[1] * features.element_size()
    for block in row_blocks(len(features), rows_per_block(width)):
        rows = features[block].detach()
        yield (rows.float() if rows.dtype == torch.bfloat16 else rows).numpy()
