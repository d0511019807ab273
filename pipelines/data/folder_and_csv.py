"""A user's own images: folders of identity folders, or a table (CSV)."""

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..embeddings import SPLITS
from ..errors import BadInput
from ..labels import numbers_of
from .folders import child, image_names, inside, require_folder, shortened
from .samples import NO_CAMERA, Dataset, Sample

COLUMNS = ("path", "pid", "split")


class Row(NamedTuple):
    """One image before its person has a number."""

    split: str
    name: str
    person: str
    camera: str


def read_folder(root: Path, *, camera_pattern: str | None = None) -> Dataset:
    """Read train, query and gallery folders of identity folders.

    camera_pattern: a regular expression, found anywhere in the path below the split, whose first
                    group is the camera; None: no cameras are known.

    Raises:
        BadInput: no such folders, images outside an identity's folder, or names without a camera.
    """
    entries = require_folder(root, "folder")
    pattern = _compiled(camera_pattern)
    rows: list[Row] = []
    for split in SPLITS:
        folder = child(root, split)
        if folder is None:
            continue
        for name in image_names(folder, deep=True):
            person, slash, _ = name.partition("/")
            if not slash:
                raise BadInput(f"{folder / name} lies in no identity's folder: move it into one")
            rows.append(Row(split, f"{folder.name}/{name}", person, _camera(pattern, name)))
    if not rows:
        raise BadInput(
            f"{root} holds no folders of identities: wanted train, query and gallery, each with a "
            f"folder of images for each identity; found {shortened(entries)}"
        )
    options = {"camera_pattern": camera_pattern} if camera_pattern else {}
    return replace(_numbered("folder", root, rows=rows), options=options)


def read_csv(root: Path) -> Dataset:
    """Read a table of path, pid, split and, where known, camid; paths are below its folder.

    root: the table, or a folder that holds one .csv file.

    Raises:
        BadInput: no table, columns that lack, or lines that do not parse.
    """
    path = _table(root)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file)
            columns = list(lines.fieldnames or ())
            twice = sorted({name for name in columns if columns.count(name) > 1})
            if twice:
                raise BadInput(f"{path} has the column {', '.join(twice)} more than once")
            missing = [name for name in COLUMNS if name not in columns]
            if missing:
                raise BadInput(
                    f"{path} has no column {', '.join(missing)}; its first line must name path, "
                    f"pid, split and, where known, camid; it is {','.join(columns)}"
                )
            rows = [_row(path, number, line=line) for number, line in enumerate(lines, start=2)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} is no CSV table in UTF-8 ({error})") from error
    if not rows:
        raise BadInput(f"{path} lists no images")
    seen: set[str] = set()
    for number, row in enumerate(rows, start=2):
        if row.name in seen:
            raise BadInput(f"{path}, line {number}: {row.name} is listed twice")
        seen.add(row.name)
    return replace(_numbered("csv", path.parent, rows=rows), options={"table": path.name})


def read_csv_again(root: Path, *, table: str | None = None) -> Dataset:
    """Read a table, given itself, or its folder and its name (as manifests record it)."""
    return read_csv(root / table if table and root.is_dir() else root)


def _numbered(dataset: str, root: Path, *, rows: Sequence[Row]) -> Dataset:
    """Give every person and camera a number: its own where all have one, else by sorted name."""
    pids = numbers_of((row.person for row in rows), "an identity")
    camids = numbers_of((row.camera for row in rows), "a camera")
    splits = {
        split: sorted(
            Sample(row.name, pids[row.person], camids[row.camera])
            for row in rows
            if row.split == split and pids[row.person] >= 0
        )
        for split in SPLITS
    }
    junk = sum(pids[row.person] < 0 for row in rows)
    return Dataset(dataset, root, splits, junk=junk)


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise BadInput(f"--camera-pattern {pattern}: no regular expression ({error})") from error
    if compiled.groups < 1:
        raise BadInput(f"--camera-pattern {pattern}: needs a group for the number, as in c(\\d+)")
    return compiled


def _camera(pattern: re.Pattern[str] | None, name: str) -> str:
    if pattern is None:
        return str(NO_CAMERA)
    match = pattern.search(name)
    if match is None or not match[1]:
        raise BadInput(f"--camera-pattern {pattern.pattern} finds no camera in {name}")
    return match[1]


def _table(root: Path) -> Path:
    if root.is_file():
        return root
    require_folder(root, "csv")
    tables = sorted(path for path in root.iterdir() if path.suffix.lower() == ".csv")
    if len(tables) != 1:
        found = shortened([path.name for path in tables])
        raise BadInput(f"{root}: wanted one .csv file, found {found}; give --root the file itself")
    return tables[0]


def _row(path: Path, number: int, *, line: dict[str, str | None]) -> Row:
    name, person, split = ((line.get(column) or "").strip() for column in COLUMNS)
    camera = (line.get("camid") or "").strip()
    if split not in SPLITS:
        raise BadInput(f"{path}, line {number}: split {split!r} is none of {', '.join(SPLITS)}")
    if not person:
        raise BadInput(f"{path}, line {number}: no pid")
    if "\0" in name:
        raise BadInput(f"{path}, line {number}: path {name!r} holds a NUL character")
    if not inside(name):
        raise BadInput(
            f"{path}, line {number}: path {name!r} must be below {path.parent}, with no '..'"
        )
    return Row(split, name.replace("\\", "/"), person, camera or str(NO_CAMERA))
