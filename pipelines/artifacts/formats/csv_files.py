""".npy + CSV of `path,pid,camid,split`: row i of the table labels row i of the array."""

import csv
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ...embeddings import SPLITS
from ...errors import BadInput
from .numpy_files import StoredArray, npy
from .split import FileSplit, Warn, checked_split

COLUMNS = ("path", "pid", "camid", "split")  # camid may be missing


@dataclass(frozen=True)
class Table:
    """The labels of a CSV, row by row; `splits` holds each row's place in SPLITS."""

    splits: np.ndarray
    pids: np.ndarray
    camids: np.ndarray | None


def read_npy_and_csv(features: Path, labels: Path, *, warn: Warn) -> list[FileSplit]:
    """Read an .npy [N, d] and the CSV with a line for each of its rows."""
    array = npy(features)
    table = read_table(labels, warn)
    rows = len(table.pids)
    if array.shape[0] != rows:
        raise BadInput(
            f"{features} has {array.shape[0]} rows but {labels} labels {rows}: one for each is "
            "needed"
        )
    found = []
    for code, split in enumerate(SPLITS):
        chosen = table.splits == code
        if not chosen.any():
            continue
        shape = (int(chosen.sum()), *array.shape[1:])
        found.append(
            checked_split(
                features,
                split,
                shape=shape,
                dtype=array.dtype.name,
                blocks=partial(chosen_rows, array, chosen),
                pids=table.pids[chosen],
                camids=None if table.camids is None else table.camids[chosen],
                names=partial(names_of, labels, split),
            )
        )
    return found


def chosen_rows(array: StoredArray, chosen: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the chosen rows of a stored array, in order, block by block."""
    start = 0
    for block in array.items():
        mask = chosen[start : start + len(block)]
        start += len(block)
        if mask.any():
            yield block[mask]


def read_table(path: Path, warn: Warn) -> Table:
    """Read every line's labels.

    Raises:
        BadInput: a column missing, a value that is no whole number, or an unknown split, with its
            line number.
    """
    splits, pids, camids = array("b"), array("q"), array("q")
    columns: list[str] = []
    for line, row in _lines(path, columns):
        pids.append(_whole(path, line=line, column="pid", text=row["pid"]))
        camids.append(_whole(path, line=line, column="camid", text=row.get("camid") or "-1"))
        if row["split"] not in SPLITS:
            raise BadInput(
                f"{path}, line {line}: split is {row['split']!r}; wanted {', '.join(SPLITS)}"
            )
        splits.append(SPLITS.index(row["split"]))
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown:
        warn(f"{path}: ignored {', '.join(unknown)}")
    cameras = np.array(camids, np.int64) if "camid" in columns else None
    return Table(np.array(splits, np.int8), np.array(pids, np.int64), cameras)


def names_of(path: Path, split: str) -> Iterator[str]:
    """Yield the paths of one split's lines."""
    for _, row in _lines(path, []):
        if row["split"] == split:
            yield row["path"]


def _lines(path: Path, columns: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line numbers and fields; fills `columns` with the header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns[:] = [column.strip() for column in next(reader, [])]
            missing = [name for name in ("path", "pid", "split") if name not in columns]
            if missing:
                raise BadInput(
                    f"{path} has no column {', '.join(missing)}: its first line is "
                    f"{','.join(columns)[:80]!r}; wanted path,pid,camid,split (camid may be absent)"
                )
            for fields in reader:
                if len(fields) != len(columns):
                    if not fields:
                        continue  # an empty line
                    raise BadInput(
                        f"{path}, line {reader.line_num}: {len(fields)} fields; the header has "
                        f"{len(columns)}"
                    )
                yield reader.line_num, dict(zip(columns, fields, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} is not a CSV file in UTF-8 ({error})") from error


def _whole(path: Path, *, line: int, column: str, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 1 << 63
    if not -(1 << 63) <= value < 1 << 63:
        raise BadInput(f"{path}, line {line}: {column} is {text!r}; a whole number is wanted")
    return value
