"""`FileSplit`: one split in another program's file, its features read block by block."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...embeddings import SPLITS, as_numpy, integers
from ...errors import BadInput
from ...labels import JUNK, are_names, numbered, numbers_of, texts_of

WIDTHS = (2, 8192)
BLOCK_BYTES = 32 << 20  # features in memory at a time
FLOATS = ("float16", "float32", "float64", "bfloat16")
FIELDS = ("features", "pids", "camids", "names")

Warn = Callable[[str], None]


@dataclass(frozen=True)
class FileSplit:
    """Labels read and checked; features and names are read again each time they are asked for.

    pids:   [N] int64, or text until `numbered_together`.   camids: the same; None without any.
    blocks: yields the features in order, [n, dim] of any float type.
    names:  yields N strings; None when the file has none.
    """

    path: Path
    split: str
    dim: int
    dtype: str
    pids: np.ndarray
    camids: np.ndarray | None
    blocks: Callable[[], Iterator[np.ndarray]]
    names: Callable[[], Iterator[str]] | None

    def __len__(self) -> int:
        return len(self.pids)


def checked_split(
    path: Path,
    split: str,
    *,
    shape: tuple[int, ...],
    dtype: str,
    blocks: Callable[[], Iterator[np.ndarray]],
    pids: Any,
    camids: Any = None,
    names: Callable[[], Iterator[str]] | None = None,
    names_count: int | None = None,
) -> FileSplit:
    """Return the split after checking type, shape and the labels' lengths against each other.

    Raises:
        BadInput: naming the file, the split, what was wanted and what was found.
    """
    where = f"{path}, split {split}"
    require_features(where, shape=shape, dtype=dtype)
    rows, dim = shape
    people = labels(pids, where, what="pids", rows=rows)
    cameras = None if camids is None else labels(camids, where, what="camids", rows=rows)
    if names is not None and names_count is not None and names_count != rows:
        raise BadInput(f"{where}: {rows} features but {names_count} names: one for each is needed")
    return FileSplit(path, split, dim, str(dtype), people, cameras, blocks, names)


def require_features(where: str, *, shape: tuple[int, ...], dtype: str) -> None:
    """Raise BadInput unless `shape` is [N, d] with N at least 1 and a width we take."""
    if str(dtype).lstrip("<>=|") not in FLOATS:
        raise BadInput(f"{where}: the features are {dtype}; float16, float32 or float64 is wanted")
    if len(shape) != 2:
        raise BadInput(f"{where}: the features must be [N, d]; these have the shape {shape}")
    if shape[0] == 0:
        raise BadInput(f"{where} has no rows; leave the split out when there is nothing in it")
    if not WIDTHS[0] <= shape[1] <= WIDTHS[1]:
        raise BadInput(
            f"{where}: the features are {shape[1]} wide; {WIDTHS[0]} to {WIDTHS[1]} is wanted "
            f"(the shape is {shape}: is it [N, d]?)"
        )


def require_count(where: str, *, rows: int, shape: tuple[int, ...], what: str) -> None:
    """Raise BadInput unless labels of a shape, not read yet, are one for each of the rows."""
    count = int(np.prod(shape, dtype=object))
    if count != rows:
        raise BadInput(f"{where}: {rows} features but {count} {what}: one for each is needed")


def labels(values: Any, where: str, *, what: str, rows: int) -> np.ndarray:
    """Return labels as [rows], int64 or text; [1, N] and [N, 1], as MATLAB has them, become [N]."""
    array = as_numpy(values)
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if len(array.shape) == 1:
        require_count(where, rows=rows, shape=array.shape, what=what)
    texts = texts_of(array)
    if texts is not None:
        if what == "pids" and (texts == "").any():
            raise BadInput(f"{where}: row {int(np.argmax(texts == ''))} has no identity")
        return np.where(texts == "", str(JUNK), texts)
    try:
        return integers(array, what)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from error


def numbered_together(parts: Sequence[FileSplit], warn: Warn) -> list[FileSplit]:
    """Return the splits with labels that are text as numbers, the same text everywhere alike."""
    found = list(parts)
    for field, what in (("pids", "an identity"), ("camids", "a camera")):
        given = [getattr(part, field) for part in found]
        if not any(labels is not None and labels.dtype.kind == "U" for labels in given):
            continue
        texts = [None if labels is None else labels.astype(str) for labels in given]
        distinct = {str(text) for labels in texts if labels is not None for text in set(labels)}
        numbers = numbers_of(distinct, what)
        if are_names(numbers):
            names = sorted(text for text in numbers if numbers[text] >= 0)
            warn(
                f"{what} is named by text ({', '.join(names[:3])}…): {len(names)} names, numbered "
                "from 0 in sorted order"
            )
        found = [
            part if labels is None else _with(part, field=field, labels=numbered(labels, numbers))
            for part, labels in zip(found, texts, strict=True)
        ]
    return found


def _with(part: FileSplit, *, field: str, labels: np.ndarray) -> FileSplit:
    return replace(part, pids=labels) if field == "pids" else replace(part, camids=labels)


def keyed_fields(path: Path, keys: list[str], *, warn: Warn) -> dict[str, dict[str, str]]:
    """Sort a file's keys `{split}_{field}` by split and field; say which others are ignored.

    Raises:
        BadInput: no split in it, or a split without features or without pids.
    """
    wanted = {f"{split}_{field}": (split, field) for split in SPLITS for field in FIELDS}
    found: dict[str, dict[str, str]] = {}
    for key in keys:
        if key in wanted:
            split, field = wanted[key]
            found.setdefault(split, {})[field] = key
    if not found:
        raise BadInput(
            f"{path} has no embeddings: its keys are {', '.join(sorted(keys)) or 'none'}; wanted "
            "{train,query,gallery}_{features,pids,camids}, and _names where there are names"
        )
    for split, fields in found.items():
        for field in ("features", "pids"):
            if field not in fields:
                hint = " (-1 where the person is not known)" if field == "pids" else ""
                raise BadInput(f"{path} has {split} but no {split}_{field}; it is needed{hint}")
    unknown = sorted(set(keys) - set(wanted))
    if unknown:
        warn(f"{path}: ignored {', '.join(unknown)}")
    return {split: found[split] for split in SPLITS if split in found}


def rows_per_block(row_bytes: int) -> int:
    """Return how many rows fit into a block."""
    return max(1, BLOCK_BYTES // max(row_bytes, 1))
