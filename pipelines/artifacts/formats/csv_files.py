"""CSV of `path,pid,camid,split`: line i labels row i of an .npy, or holds the features itself."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ...data.tables import Table, lines_of, open_table
from ...embeddings import COLUMNS, SPLITS
from ...errors import BadInput
from ...labels import JUNK
from .keys import Warn
from .numpy_files import StoredArray, npy
from .split import FileSplit, checked_split, rows_per_block


def read_npy_and_csv(features: Path, labels: Path, *, warn: Warn) -> list[FileSplit]:
    """Read an .npy [N, d] and the CSV with a line for each of its rows.

    Raises:
        BadInput: a column missing or given twice, no pid, or an unknown split, with its line
            number.
    """
    array = npy(features)
    table = open_table(labels)
    for text in table.understood:
        warn(text)
    lines = sum(1 for _ in table.rows(every=True))
    if array.shape[1:] == (lines,) and array.shape[0] != lines:
        warn(f"{features}: the features are stored [d, N], {array.shape}; they are turned")
        array = array.turned()
    if array.shape[0] != lines:
        raise BadInput(
            f"{features} has {array.shape[0]} rows but {labels} labels {lines}: one for each "
            "is needed"
        )
    return _by_split(features, array, table=table)


def read_csv(path: Path, warn: Warn, *, labelled: bool) -> list[FileSplit]:
    """Read a CSV that holds the features too, in columns f0, f1, … beside the labels.

    labelled: whether pid and split are needed; without a split column the rows are of none.

    Raises:
        BadInput: a column missing or given twice, or what is no number, with its line.
    """
    table = open_table(path, needed=("pid", "split") if labelled else ())
    for text in table.understood:
        warn(text)
    return _by_split(path, TableNumbers.of(table), table=table)


def has_numbers(path: Path) -> bool:
    """Return whether a CSV holds features."""
    return bool(open_table(path, needed=()).numbers)


@dataclass(frozen=True)
class TableNumbers:
    """The features in a table's columns, read block by block."""

    table: Table
    shape: tuple[int, ...]
    dtype = np.dtype(np.float32)

    @staticmethod
    def of(table: Table) -> "TableNumbers":
        """Count the lines."""
        return TableNumbers(table, (sum(1 for _ in table.rows(every=True)), len(table.numbers)))

    def items(self) -> Iterator[np.ndarray]:
        """Yield the features, [n, d] float32."""
        table, places = self.table, self.table.numbers
        block, most = list[np.ndarray](), rows_per_block(4 * len(places))
        for line, fields in lines_of(table.path, table.encoding, separator=table.separator):
            if line == 1 or not any(fields):
                continue
            try:
                block.append(np.array([fields[place] for place in places], np.float32))
            except ValueError as error:
                raise BadInput(f"{table.path}, line {line}: {error}") from error
            if len(block) == most:
                yield np.stack(block)
                block = []
        if block:
            yield np.stack(block)


def _by_split(
    features: Path, array: StoredArray | TableNumbers, *, table: Table
) -> list[FileSplit]:
    splits, pids, camids, columns = _labels(table)
    unsplit = [(-1, "")] if "split" not in table.columns else []
    found = []
    for code, split in [*enumerate(SPLITS), *unsplit]:
        chosen = splits == code
        if not chosen.any():
            continue
        found.append(
            checked_split(
                features,
                split,
                shape=(int(chosen.sum()), *array.shape[1:]),
                dtype=array.dtype.name,
                blocks=partial(chosen_rows, array, chosen),
                pids=pids[chosen] if "pid" in table.columns else None,
                camids=None if camids is None else camids[chosen],
                names=partial(_names, table, split) if "path" in table.columns else None,
                columns={name: values[chosen] for name, values in columns.items()},
            )
        )
    return found


def read_npy(path: Path) -> list[FileSplit]:
    """Read an .npy [N, d], or [d], of rows without labels: of no split."""
    array = npy(path).as_rows()
    array = array.turned() if array.shape[1:] == (1,) else array  # one vector, as a column
    found = checked_split(
        path, "", shape=array.shape, dtype=array.dtype.name, blocks=array.items, pids=None
    )
    return [found]


def chosen_rows(array: StoredArray | TableNumbers, chosen: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the chosen rows of a stored array, in order, block by block."""
    start = 0
    for block in array.items():
        mask = chosen[start : start + len(block)]
        start += len(block)
        if mask.any():
            yield block[mask]


def _labels(
    table: Table,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, dict[str, np.ndarray]]:
    """Return each line's place in SPLITS, -1 for none, its pid, camera and others as text, [N]."""
    splits, pids, camids = array("b"), Texts(), Texts()
    columns = {name: Texts() for name in COLUMNS}
    for row in table.rows(every=True):
        splits.append(SPLITS.index(row.split) if row.split else -1)
        pids.append(row.pid)
        camids.append(row.camid or str(JUNK))
        for texts, text in zip(columns.values(), row.more, strict=True):
            texts.append(text)
    cameras = camids.labels() if "camid" in table.columns else None
    others = {name: texts.labels() for name, texts in columns.items() if name in table.columns}
    return np.array(splits, np.int8), pids.labels(), cameras, others


class Texts:
    """Many texts of which few differ, each kept once."""

    def __init__(self) -> None:
        self.codes, self.of = array("q"), dict[str, int]()

    def append(self, text: str) -> None:
        """Take one more."""
        self.codes.append(self.of.setdefault(text, len(self.of)))

    def labels(self) -> np.ndarray:
        """Return all of them, [N] str."""
        return np.array(list(self.of), str)[np.array(self.codes, np.int64)]


def _names(table: Table, split: str) -> Iterator[str]:
    return (row.path for row in table.rows() if row.split == split)
