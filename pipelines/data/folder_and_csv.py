"""A user's own images: folders of identity folders, or a table (CSV)."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..embeddings import SPLITS
from ..errors import BadInput, naming
from ..labels import numbers_of
from .folders import image_names, inside, require_folder, scan, shortened
from .samples import NO_CAMERA, Dataset, Sample
from .tables import KNOWN, Table, open_table, plain, split_roles


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
    places = {name: root / name for name in entries if plain(name) in KNOWN}
    people = {name: _people(place) for name, place in places.items() if place.is_dir()}
    roles, said = split_roles(people)
    rows: list[Row] = []
    for folder, split in roles.items():
        for name in image_names(places[folder], deep=True) if split else ():
            person, slash, _ = name.partition("/")
            if not slash:
                raise BadInput(
                    f"{places[folder] / name} lies in no identity's folder: move it into one"
                )
            rows.append(Row(split, f"{folder}/{name}", person, _camera(pattern, name)))
    if not rows:
        raise BadInput(
            f"{root} holds no folders of identities: wanted train, query and gallery, each with a "
            f"folder of images for each identity; found {shortened(entries)}"
        )
    options = {"camera_pattern": camera_pattern} if camera_pattern else {}
    notices = tuple(f"{root}: {text}" for text in said)
    return replace(_numbered("folder", root, rows=rows), options=options, notices=notices)


def _people(place: Path) -> set[str]:
    return {entry.name for entry in scan(place) if entry.is_dir()}


def read_csv(root: Path) -> Dataset:
    """Read a table of path, pid, split and, where known, camid.

    Paths are below the table's folder, or absolute: then the root is the folder of all images.
    root: the table, or a folder that holds one .csv file.

    Raises:
        BadInput: no table, columns that lack, or lines that do not parse.
    """
    table = open_table(_table(root))
    path, notices = table.path, list(table.understood)
    home, rows = path.parent, _rows(table)
    if any(os.path.isabs(row.name) for row in rows):
        home, rows = _below_one_folder(home, rows)
        notices.append(f"{path}: its paths are absolute; they are read below {home}")
    if not rows:
        raise BadInput(f"{path} lists no images")
    name = path.name if home == path.parent else str(path.absolute())
    with naming(path):
        data = _numbered("csv", home, rows=rows)
    return replace(data, options={"table": name}, notices=tuple(notices))


def _below_one_folder(home: Path, rows: list[Row]) -> tuple[Path, list[Row]]:
    """Return the nearest folder that all images lie below, and the rows named from there."""
    places = [os.path.join(home.absolute(), row.name) for row in rows]
    own = f"{home.absolute()}{os.sep}"
    if not all(place.startswith(own) for place in places):
        home = Path(os.path.commonpath([os.path.dirname(place) for place in places]))
    names = [os.path.relpath(place, home.absolute()) for place in places]
    return home, [row._replace(name=name) for row, name in zip(rows, names, strict=True)]


def read_csv_again(root: Path, *, table: str | None = None) -> Dataset:
    """Read a table, given itself, or its folder and its name (as manifests record it)."""
    inner = table is not None and (root.is_dir() or os.path.isabs(table))
    return read_csv(root / table if table is not None and inner else root)


def _numbered(dataset: str, root: Path, *, rows: Sequence[Row]) -> Dataset:
    """Give every person and camera a number: its own where all have one, else by sorted name."""
    with naming(root):
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


def _rows(table: Table) -> list[Row]:
    """Return the table's images; BadInput where one is listed twice, or lies we know not where."""
    rows, seen = [], set[str]()
    for line, name, person, camera, split in table.rows():
        where = f"{table.path}, line {line}"
        if not inside(name) and not (name.startswith("/") and inside(name.lstrip("/"))):
            raise BadInput(
                f"{where}: path {name!r} must be below {table.path.parent}, with no '..', or "
                "absolute"
            )
        name = name.replace("\\", "/")
        if name in seen:
            raise BadInput(f"{where}: {name} is listed twice")
        seen.add(name)
        rows.append(Row(split, name, person, camera or str(NO_CAMERA)))
    return rows
