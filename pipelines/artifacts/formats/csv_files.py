""".npy + CSV of `path,pid,camid,split`: row i of the table labels row i of the array."""

from array import array
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ...data.tables import Table, open_table
from ...embeddings import COLUMNS, SPLITS
from ...errors import BadInput
from ...labels import JUNK
from .keys import Warn
from .numpy_files import StoredArray, npy
from .split import FileSplit, checked_split


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
    splits, pids, camids, columns = _labels(table)
    if array.shape[1:] == (len(pids),) and array.shape[0] != len(pids):
        warn(f"{features}: the features are stored [d, N], {array.shape}; they are turned")
        array = array.turned()
    if array.shape[0] != len(pids):
        raise BadInput(
            f"{features} has {array.shape[0]} rows but {labels} labels {len(pids)}: one for each "
            "is needed"
        )
    found = []
    for code, split in enumerate(SPLITS):
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
                pids=pids[chosen],
                camids=None if camids is None else camids[chosen],
                names=partial(_names, table, split),
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


def chosen_rows(array: StoredArray, chosen: np.ndarray) -> Iterator[np.ndarray]:
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
