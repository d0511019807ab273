"""`FileSplit`: one split in another program's file, its features read block by block."""

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from ...embeddings import COLUMNS, as_numpy, integers
from ...errors import BadInput, blaming
from ...labels import (
    JUNK,
    NUMBERS,
    LabelNames,
    column_numbers,
    column_values,
    names_of,
    numbered,
    numbers_of,
    texts_of,
    told_of_nobody,
)
from .keys import Warn, keyed_fields

LEAST_WIDTH = 2  # one number is a sign only: every cosine of it is 1 or -1
BLOCK_BYTES = 32 << 20  # features in memory at a time
FLOATS = ("float16", "float32", "float64", "bfloat16")
LONE = re.compile("[\ud800-\udfff]")  # halves of characters, which no encoding writes


@dataclass(frozen=True)
class FileSplit:
    """Labels read and checked; features and names are read again each time they are asked for.

    pids:   [N] int64, or text until `numbered_together`.   camids: the same; None without any.
    blocks: yields the features in order, [n, dim] of any float type.
    names:  yields N strings; None when the file has none.
    split:  "" where the file names none.   labelled: whether the file has pids; else all are -1.
    label_names: of labels that were text, once they are numbers.
    columns: further labels by a name of COLUMNS, [N] int64, or text until `numbered_together`.
    """

    path: Path
    split: str
    dim: int
    dtype: str
    pids: np.ndarray
    camids: np.ndarray | None
    blocks: Callable[[], Iterator[np.ndarray]]
    names: Callable[[], Iterator[str]] | None
    labelled: bool = True
    label_names: LabelNames = NUMBERS
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pids)


class Arrays(Protocol):
    """A file of named arrays: what a format's reader provides, and `splits_of` checks."""

    path: Path

    def keys(self) -> list[str]:
        """Return the arrays' names."""

    def shape(self, key: str) -> tuple[int, ...]:
        """Return an array's shape, without reading it."""

    def dtype(self, key: str) -> str:
        """Return the name of an array's type of numbers."""

    def whole(self, key: str) -> Any:
        """Return an array, for labels."""

    def rows(self, key: str, *, turned: bool) -> Iterator[np.ndarray]:
        """Yield the rows of a matrix, or of its transpose, [n, d] a block."""

    def texts(self, key: str) -> Iterator[str]:
        """Yield an array of text, item by item."""


def splits_of(
    file: Arrays, warn: Warn, *, labelled: bool, columns: bool = False, what: str = "keys"
) -> list[FileSplit]:
    """Return a file's splits, after checking every shape before anything large is read.

    labelled: whether pids are needed.   columns: whether square features have an item a column.
    what: the format's word for its keys.
    """
    found = keyed_fields(file.path, file.keys(), warn=warn, labelled=labelled, what=what)
    shapes = {
        split: (file.shape(keys["features"]), _count(file.shape(keys["pids"])))
        for split, keys in found.items()
        if "pids" in keys
    }
    turned = turned_splits(file.path, shapes, default=columns, warn=warn)
    return [
        _split(file, split, keys=keys, turned=turned.get(split, columns))
        for split, keys in found.items()
    ]


def _split(file: Arrays, split: str, *, keys: dict[str, str], turned: bool) -> FileSplit:
    features, names, where = keys["features"], keys.get("names"), f"{file.path}, split {split}"
    shape = file.shape(features)
    shape = (1, *shape) if len(shape) == 1 else shape  # a lone vector
    turned |= "pids" not in keys and len(shape) == 2 and shape[1] == 1  # one stored as a column
    shape = shape[::-1] if turned else shape
    require_features(where, shape=shape, dtype=file.dtype(features))
    for what in ("pids", "camids", "names", *COLUMNS):
        if what in keys:
            count = _count(file.shape(keys[what]))
            require_count(where, rows=shape[0], count=count, what=what)
    return checked_split(
        file.path,
        split,
        shape=shape,
        dtype=file.dtype(features),
        blocks=partial(file.rows, features, turned=turned),
        pids=file.whole(keys["pids"]) if "pids" in keys else None,
        camids=file.whole(keys["camids"]) if "camids" in keys else None,
        names=None if names is None else partial(file.texts, names),
        columns={name: file.whole(keys[name]) for name in COLUMNS if name in keys},
    )


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=object))


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
    columns: Mapping[str, Any] = MappingProxyType({}),
) -> FileSplit:
    """Return the split after checking type, shape and the labels' lengths against each other.

    pids: None where the file has none.   What reading the features or the names raises later is
    BadInput that names the file.

    Raises:
        BadInput: naming the file, the split, what was wanted and what was found.
    """
    where = f"{path}, split {split}" if split else str(path)
    require_features(where, shape=shape, dtype=dtype)
    rows, dim = shape
    labelled = pids is not None
    people = labels(pids if labelled else np.full(rows, JUNK), where, what="pids", rows=rows)
    cameras = None if camids is None else labels(camids, where, what="camids", rows=rows)
    named = None if names is None else lambda: _usable(where, _guarded(path, names))
    return FileSplit(
        *(path, split, dim, str(dtype), people, cameras),
        blocks=lambda: _guarded(path, blocks),
        names=named,
        labelled=labelled,
        columns={
            name: _column(values, where, what=name, rows=rows) for name, values in columns.items()
        },
    )


def _column(values: Any, where: str, *, what: str, rows: int) -> np.ndarray:
    array = as_numpy(values).reshape(-1)  # [1, N] and [N, 1], as MATLAB has them
    require_count(where, rows=rows, count=len(array), what=what)
    return column_values(array)


def _guarded(path: Path, items: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    with blaming(path):
        yield from items()


def _usable(where: str, names: Iterator[str]) -> Iterator[str]:
    """Yield the names; BadInput at one that cannot be a picture's, or leads out of its folder."""
    for row, name in enumerate(names):
        wrong = "" if name else "has no name"
        if "\0" in name or (not name.isascii() and LONE.search(name)):
            wrong = f"has a name that is no text: {name!r}"
        elif ".." in name and posixpath.normpath(name.replace("\\", "/")).startswith(".."):
            wrong = f"has a name that leads out of the images' folder: {name!r}; take the .. away"
        if wrong:
            raise BadInput(f"{where}: row {row} {wrong}")
        yield name


def turned_splits(
    path: Path, shapes: Mapping[str, tuple[tuple[int, ...], int]], *, default: bool, warn: Warn
) -> dict[str, bool]:
    """Return for each split whether its features are stored [d, N], judged by its labels' number.

    shapes: of the features, and the number of labels.   default: for a square where no other split
    tells.

    Raises:
        BadInput: a square one beside splits that are stored in both ways.
    """
    two = {split: given for split, given in shapes.items() if len(given[0]) == 2}
    sure = {
        split: shape[1] == count
        for split, (shape, count) in two.items()
        if shape[0] != shape[1] and count in shape
    }
    for split, (shape, count) in two.items():
        if sure.get(split) and not default:
            warn(f"{path}, split {split}: the features are stored [d, N], {shape}; they are turned")
        if split in sure or shape != (count, count):
            continue
        if len(set(sure.values())) > 1:
            raise BadInput(
                f"{path}, split {split}: {count} × {count} features for {count} labels, and the "
                "other splits are stored in both ways; save all of them as [N, d]"
            )
        columns = next(iter(sure.values()), default)
        warn(
            f"{path}, split {split}: the features are square, {count} × {count}; each "
            f"{'column' if columns else 'row'} is read as an item, as "
            f"{'in the other splits' if sure else 'such files have it'}"
        )
    guess = next(iter(sure.values()), default)
    squares = {split: guess for split, (shape, count) in two.items() if shape == (count, count)}
    return {split: sure.get(split, squares.get(split, False)) for split in shapes}


def require_features(where: str, *, shape: tuple[int, ...], dtype: str) -> None:
    """Raise BadInput unless `shape` is [N, d] with N at least 1 and a width we take."""
    if str(dtype).lstrip("<>=|") not in FLOATS:
        raise BadInput(f"{where}: the features are {dtype}; float16, float32 or float64 is wanted")
    if len(shape) != 2:
        raise BadInput(f"{where}: the features must be [N, d]; these have the shape {shape}")
    if shape[0] == 0:
        raise BadInput(f"{where} has no rows; leave the split out when there is nothing in it")
    if shape[1] < LEAST_WIDTH:
        raise BadInput(
            f"{where}: the features are {shape[1]} wide; {LEAST_WIDTH} or more is wanted "
            f"(the shape is {shape}: is it [N, d]?)"
        )


def require_count(where: str, *, rows: int, count: int, what: str) -> None:
    """Raise BadInput unless labels, not read yet, are one for each of the rows."""
    if count != rows:
        raise BadInput(f"{where}: {rows} features but {count} {what}: one for each is needed")


def labels(values: Any, where: str, *, what: str, rows: int) -> np.ndarray:
    """Return labels as [rows], int64 or text; [1, N] and [N, 1], as MATLAB has them, become [N]."""
    array = as_numpy(values)
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if len(array.shape) == 1:
        require_count(where, rows=rows, count=len(array), what=what)
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
    found = _columns_numbered(parts)
    for kind, what in (("pids", "an identity"), ("camids", "a camera")):
        given = [getattr(part, kind) for part in found]
        if not any(labels is not None and labels.dtype.kind == "U" for labels in given):
            continue
        texts = [None if labels is None else labels.astype(str) for labels in given]
        distinct = {str(text) for labels in texts if labels is not None for text in set(labels)}
        numbers = numbers_of(distinct, what)
        names = names_of(numbers)
        if names:
            warn(
                f"{what} is named by text ({', '.join(names[:3])}…): {len(names)} names, numbered "
                "from 0 in sorted order"
            )
            for text in told_of_nobody(names if kind == "pids" else ()):
                warn(text)
        found = [
            _with(part, kind, labels=labels, numbers=numbers)
            for part, labels in zip(found, texts, strict=True)
        ]
    return found


def _columns_numbered(parts: Sequence[FileSplit]) -> list[FileSplit]:
    """Return the splits with columns of text as numbers, the same text everywhere alike."""
    found = list(parts)
    for name in COLUMNS:
        given = [part.columns[name].astype(str) for part in found if name in part.columns]
        if not any(part.columns[name].dtype.kind == "U" for part in found if name in part.columns):
            continue
        numbers = column_numbers(str(text) for texts in given for text in np.unique(texts))
        found = [
            replace(
                part,
                columns={
                    **part.columns,
                    name: numbered(part.columns[name].astype(str), numbers),
                },
            )
            if name in part.columns
            else part
            for part in found
        ]
    return found


def _with(
    part: FileSplit, kind: str, *, labels: np.ndarray | None, numbers: dict[str, int]
) -> FileSplit:
    """Return a split with one field's text as numbers, and the names that they stand for."""
    changed: dict[str, Any] = {} if labels is None else {kind: numbered(labels, numbers)}
    names = replace(part.label_names, **{kind: names_of(numbers)})
    return replace(part, label_names=names, **changed)


def rows_per_block(row_bytes: int) -> int:
    """Return how many rows fit into a block."""
    return max(1, BLOCK_BYTES // max(row_bytes, 1))
