"""A folder with an .npy for each picture, labelled by a CSV or by Market-1501's names."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ...data.folders import shortened
from ...data.market1501 import EXAMPLE, PATTERN
from ...data.tables import KNOWN, Row, open_table, plain, split_roles
from ...embeddings import COLUMNS, SPLITS
from ...errors import BadInput
from ...labels import JUNK
from .keys import Warn
from .numpy_files import npy
from .split import FileSplit, checked_split, rows_per_block


def read_npy_folder(folder: Path, files: Sequence[Path], *, warn: Warn) -> list[FileSplit]:
    """Read a vector, [d] or [1, d], from each .npy below a folder.

    The labels are the lines of a CSV, in the folder or among `files`, whose paths name the same
    pictures; or the folders train, query and gallery, and names like Market-1501's.

    Raises:
        BadInput: no .npy there, no labels for one, or vectors of other widths.
    """
    stored = {path.relative_to(folder).with_suffix("").as_posix(): path for path in vectors(folder)}
    if not stored:
        raise BadInput(f"{folder} is a folder without .npy files; files of embeddings are wanted")
    tables = [path for path in (*files, *sorted(folder.glob("*.csv"))) if path.suffix == ".csv"]
    rows = _listed(tables[0], stored, warn=warn) if len(tables) == 1 else _named(stored, warn=warn)
    if not rows:
        raise BadInput(
            f"{folder} holds {len(stored):,} .npy files without labels: put one CSV of path,pid,"
            "camid,split in it, or sort them into train, query and gallery, with names like "
            f"{EXAMPLE.replace('.jpg', '.npy')}"
        )
    width = _vector(stored[rows[0].path]).shape[1]
    found = []
    for split in SPLITS:
        chosen = [row for row in rows if row.split == split]
        if chosen:
            places = [stored[row.path] for row in chosen]
            names = [row.path for row in chosen]
            found.append(
                checked_split(
                    folder,
                    split,
                    shape=(len(chosen), width),
                    dtype=npy(places[0]).dtype.name,
                    blocks=partial(_blocks, places, width=width),
                    pids=np.array([row.pid for row in chosen]),
                    camids=np.array([row.camid or str(JUNK) for row in chosen]),
                    names=partial(iter, names),
                    columns={
                        name: np.array(texts)
                        for name, texts in zip(
                            COLUMNS, zip(*(row.more for row in chosen), strict=True), strict=False
                        )
                        if any(texts)
                    },
                )
            )
    return found


def vectors(folder: Path) -> list[Path]:
    """Return the .npy files below a folder, sorted."""
    return sorted(path for path in folder.rglob("*.npy") if not path.name.startswith("."))


def _listed(table: Path, stored: dict[str, Path], *, warn: Warn) -> list[Row]:
    """Return the lines of a table, their paths as `stored` has them: whole, or the file's name."""
    opened = open_table(table)
    for text in opened.understood:
        warn(text)
    names = [name.rpartition("/")[2] for name in stored]
    alone = {name: whole for name, whole in zip(names, stored, strict=True)}
    rows = []
    for row in opened.rows():
        name = str(Path(row.path.replace("\\", "/")).with_suffix(""))
        place = name if name in stored else alone.get(name.rpartition("/")[2], "")
        if not place or (place != name and names.count(Path(place).name) > 1):
            raise BadInput(f"{table}, line {row.line}: no .npy, or several, for {row.path}")
        rows.append(row._replace(path=place))
    if len(rows) < len(stored):
        warn(f"{table}: {len(stored) - len(rows):,} of {len(stored):,} .npy files are not listed")
    return rows


def _named(stored: dict[str, Path], *, warn: Warn) -> list[Row]:
    """Return a row for each file that lies in a split's folder, labelled by its name."""
    people: dict[str, set[str]] = {}
    found = []
    for name in stored:
        folder, slash, rest = name.partition("/")
        match = PATTERN.match(rest.rpartition("/")[2])
        if not slash or plain(folder) not in KNOWN:
            continue
        if match is None:
            raise BadInput(f"{stored[name]}: wanted a name like {EXAMPLE} (person, camera)")
        people.setdefault(folder, set()).add(match[1])
        found.append(Row(0, name, match[1], match[2], folder))
    roles, said = split_roles(people)
    for text in said:
        warn(text)
    ignored = [
        name for name in stored if "/" not in name or plain(name.partition("/")[0]) not in KNOWN
    ]
    if found and ignored:
        warn(f"{len(ignored):,} .npy files lie in no split's folder: {shortened(ignored, 3)}")
    return [row._replace(split=roles[row.split]) for row in found if roles[row.split]]


def _vector(path: Path) -> np.ndarray:
    array = npy(path).as_rows()
    if len(array.shape) != 2 or array.shape[0] != 1:
        raise BadInput(f"{path} has the shape {array.shape}; one vector, [d] or [1, d], is wanted")
    return array.whole()


def _blocks(places: Sequence[Path], *, width: int) -> Iterator[np.ndarray]:
    size = rows_per_block(width * 8)
    for start in range(0, len(places), size):
        rows = [_vector(path) for path in places[start : start + size]]
        for path, row in zip(places[start:], rows, strict=False):
            if row.shape[1] != width:
                raise BadInput(f"{path} is {row.shape[1]} wide, and the first is {width}")
        yield np.concatenate(rows)
