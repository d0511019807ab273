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
from ...labels import JUNK
from .numpy_files import StoredArray, npy
from .split import FileSplit, Warn, checked_split

COLUMNS = ("path", "pid", "camid", "split")  # camid may be missing


@dataclass(frozen=True)
class Table:
    """The labels of a CSV, row by row, as text; `splits` holds each row's place in SPLITS."""

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
        BadInput: a column missing or given twice, no pid, or an unknown split, with its line
            number.
    """
    splits, pids, camids = array("b"), Texts(), Texts()
    columns: list[str] = []
    for line, row in _lines(path, columns):
        if not row["pid"]:
            raise BadInput(f"{path}, line {line}: no pid")
        pids.append(row["pid"])
        camids.append(row.get("camid") or str(JUNK))
        if row["split"] not in SPLITS:
            raise BadInput(
                f"{path}, line {line}: split is {row['split']!r}; wanted {', '.join(SPLITS)}"
            )
        splits.append(SPLITS.index(row["split"]))
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown:
        warn(f"{path}: ignored {', '.join(unknown)}")
    cameras = camids.labels() if "camid" in columns else None
    return Table(np.array(splits, np.int8), pids.labels(), cameras)


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
            twice = sorted({name for name in columns if columns.count(name) > 1})
            if twice:
                raise BadInput(f"{path} has the column {', '.join(twice)} more than once")
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
                yield reader.line_num, dict(zip(columns, map(str.strip, fields), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} is not a CSV file in UTF-8 ({error})") from error
