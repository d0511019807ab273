"""A user's own images: folders of identity folders, or a table (CSV)."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..embeddings import COLUMNS
from ..errors import BadInput, naming
from ..labels import NEGATIVE
from .boxes import boxed, parts_of
from .entry import Entry
from .folders import image_names, inside, notes, require_folder, scan, shortened
from .name_patterns import NamePattern, usual_pattern
from .own_rows import TEST, UNSPLIT, Row, numbered, with_splits
from .samples import NO_CAMERA, Dataset
from .tables import ALIASES, KNOWN, SPLIT_NAMES, Table, open_table, plain, split_roles
from .tables import TEST as TEST_NAMES
from .tracks import grouped, sampled

LOOKED_FOR = 20  # pictures of a table: with none of them there, it starts from another folder
CAMERA = re.compile(r"(?:^|(?<=[^A-Za-z]))(c|cam|camera)\d", re.I)  # in a name
SIDE = {"macosx"}  # folders that archives leave


def read_folder(
    root: Path,
    *,
    camera_pattern: str | None = None,
    pattern: str | None = None,
    split: float | None = None,
    queries: str | None = None,
    frames: str | None = None,
) -> Dataset:
    """Read a folder with a folder of images for each identity, below train, query, gallery or not.

    camera_pattern: a regular expression, found anywhere in the path below the split, whose first
                    group is the camera; None: no cameras are known.
    pattern: of names that hold identity and camera; then folders say nothing of identities.
    split, queries: see `own_rows.with_splits`.
    frames: images of one track are a tracklet, of which these are read: see `tracks.sampled`.

    Raises:
        BadInput: no such folders, images outside an identity's folder, or names without a camera.
    """
    entries = require_folder(root, "folder")
    camera = _compiled(camera_pattern)
    names = None if pattern is None else NamePattern.of(pattern)
    places = {name: root / name for name in entries if plain(name) in KNOWN}
    places = {name: place for name, place in places.items() if place.is_dir()}
    said: list[str] = []
    if places:
        roles, said = split_roles({name: _people(place) for name, place in places.items()})
        roles, said = _test_roles(roles, said)
    else:
        roles, places = {"": UNSPLIT}, {"": root}
        if names is None:
            _require_identities(root, entries)
    rows: list[Row] = []
    strange: list[str] = []
    for folder, role in roles.items():
        if folder and not role:
            continue
        for name in image_names(places[folder], deep=True):
            row = _row(name, place=places[folder], role=role, names=names, camera=camera)
            if row is None:
                strange.append(f"{folder}/{name}".lstrip("/"))
            else:
                rows.append(row._replace(name=f"{folder}/{name}".lstrip("/")))
    if strange and (not rows or names is None):
        raise BadInput(_unlike(root, strange, names=names))
    if strange:
        said.append(f"{len(strange):,} names are not of --pattern: {shortened(strange)}; not read")
    if not rows:
        raise BadInput(
            f"{root} holds no folders of identities: wanted train, query and gallery, each with a "
            f"folder of images for each identity; found {shortened(entries)}"
        )
    others = [name for folder in places.values() for name in notes(folder)]
    if others:
        what = "files are no pictures" if len(others) > 1 else "file is no picture"
        said.append(f"{len(others):,} {what}: {shortened(others)}")
    said += _unread(root, entries, places=places) + _levels(
        rows, names=names, camera=camera, splits=places
    )
    rows, tracks = (rows, {}) if frames is None else grouped(rows)
    drawn = with_splits(rows, share=split, queries=queries)
    given = {"camera_pattern": camera_pattern, "pattern": pattern, "frames": frames}
    options = {key: value for key, value in given.items() if value} | drawn.options
    notices = tuple(f"{root}: {text}" for text in (*said, *drawn.said))
    with naming(root):
        data = numbered("folder", root, rows=drawn.rows)
    return _sampled(
        replace(data, options=options, notices=(*data.notices, *notices)), tracks, frames=frames
    )


def _sampled(data: Dataset, tracks: dict[str, list[str]], *, frames: str | None) -> Dataset:
    """Return a data set with the chosen frames of its tracklets."""
    if frames is None:
        return data
    own = sampled(tracks, frames)
    return replace(data, tracks=own["tracks"], notices=(*data.notices, *own["notices"]))


def _test_roles(roles: dict[str, str], said: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return roles where a test folder without queries is one to draw queries from."""
    if "query" in roles.values():
        return roles, said
    tests = [
        name for name, role in roles.items() if role == "gallery" and plain(name) in TEST_NAMES
    ]
    texts = [f"{name!r} is read as the gallery" for name in tests]
    return {**roles, **dict.fromkeys(tests, TEST)}, [text for text in said if text not in texts]


def _row(
    name: str,
    *,
    place: Path,
    role: str,
    names: NamePattern | None,
    camera: re.Pattern[str] | None,
) -> Row | None:
    """Return what a picture's path below its split's folder says; None where it says nothing."""
    if names is not None:
        fields = names.fields(name)
        if fields is None:
            return None
        role = _split_of(fields.get("split"), name) if fields.get("split") else role
        found = fields.get("camid") or _camera(camera, name)
        return Row(role, name, fields["pid"], found, _more(fields))
    person, slash, _ = name.partition("/")
    if not slash:
        return None
    return Row(role, name, person, _camera(camera, name))


def _more(fields: Mapping[str, str], given: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the further labels of a row: of its table, or else of its name."""
    texts = given or [""] * len(COLUMNS)
    return tuple(text or fields.get(name, "") for name, text in zip(COLUMNS, texts, strict=True))


def _split_of(text: str | None, name: str) -> str:
    word = plain(text or "")
    found = TEST if word in TEST_NAMES else SPLIT_NAMES.get(word)
    if found is None:
        raise BadInput(f"{name}: its split is {text!r}; wanted train, query, gallery or test")
    return found


def _unlike(root: Path, strange: Sequence[str], *, names: NamePattern | None) -> str:
    """Return the sentence for pictures whose path does not hold an identity."""
    if names is not None:
        return (
            f"--pattern {names.text} fits none of the {len(strange):,} pictures in {root}, such as "
            f"{strange[0]}{_but_for_case(names, strange)}"
        )
    usual = usual_pattern(strange)
    return (
        f"{root / strange[0]} lies in no identity's folder: move it into one, or say where names "
        f"hold the identity: --pattern '{usual or '{pid}_*'}'"
    )


def _but_for_case(names: NamePattern, strange: Sequence[str]) -> str:
    """Return what to add where capitals alone keep a pattern from fitting."""
    lower = NamePattern.of(names.text.lower())
    fits = lower.fields(strange[0].lower()) is not None
    return "; it would but for capital letters: type those of the names" if fits else ""


def _require_identities(root: Path, entries: Sequence[str]) -> None:
    """Raise BadInput where the folders in a root are no identities but a data set's own."""
    for name in entries:
        inner = root / name
        if inner.is_dir():
            found = {entry.name for entry in scan(inner) if entry.is_dir()}
            splits = sorted(one for one in found if plain(one) in KNOWN)
            if splits:
                raise BadInput(f"{inner} holds {', '.join(splits)}; give --root {inner}")
    people = [name for name in entries if (root / name).is_dir() and plain(name) not in SIDE]
    if len(people) == 1:
        inner = root / people[0]
        raise BadInput(
            f"{root} holds one folder, {people[0]}: wanted train, query and gallery, or a folder "
            f"for each of several identities. Perhaps --root {inner} is meant, with --pattern "
            "where names hold the identity"
        )


def _unread(root: Path, entries: Sequence[str], *, places: Mapping[str, Path]) -> list[str]:
    """Return a sentence that names what lies in a root of splits and is not read."""
    if "" in places:
        return []
    others = [
        f"{name}/" if (root / name).is_dir() else name
        for name in entries
        if name not in places and not name.startswith(".") and plain(name) not in SIDE
    ]
    return [f"not read: {shortened(others)}"] if others else []


def _levels(
    rows: Sequence[Row],
    *,
    names: NamePattern | None,
    camera: re.Pattern[str] | None,
    splits: Mapping[str, Path],
) -> list[str]:
    """Return sentences about what each level of folders was taken for."""
    if names is not None:
        return [f"{len(rows):,} names are of --pattern {names.text}"]
    people = {row.person for row in rows if not NEGATIVE.fullmatch(row.person)} or {"-1"}
    said = [f"{len(people):,} folders are identities, such as {min(people)!r}"]
    skip = 1 if "" not in splits else 0
    deep = [row for row in rows if row.name.count("/") > 1 + skip]
    pairs = {(row.person, row.name.split("/")[1 + skip]) for row in deep}
    inner = {folder for _, folder in pairs}
    shared = len(inner) < len(people) and len(inner) > 1
    if camera is None and shared and all(row.name.count("/") == 2 + skip for row in rows):
        said.append(
            f"below them lie folders that may be cameras ({shortened(sorted(inner))}); no camera "
            "is known without --pattern '{pid}/{camid}/*'"
        )
    elif len(people) < len(inner) == len(pairs):  # several in each, of names of their own
        said.append(
            f"below them lie further folders ({shortened(sorted(inner))}); if these are the "
            "identities, give --pattern '*/{pid}/**'"
        )
    elif camera is None:
        found = [CAMERA.search(row.name.rpartition("/")[2]) for row in rows]
        marks = {match[1] for match in found if match is not None}
        if None not in found and len(marks) == 1:
            said.append(
                f"names may hold cameras, such as {rows[0].name}; none is known without "
                f"--camera-pattern '{marks.pop()}(\\d+)'"
            )
    return said


def _people(place: Path) -> set[str]:
    return {entry.name for entry in scan(place) if entry.is_dir()}


def read_csv(
    root: Path,
    *,
    images: str | None = None,
    columns: str | None = None,
    pattern: str | None = None,
    split: float | None = None,
    queries: str | None = None,
    frames: str | None = None,
    home: Path | None = None,
) -> Dataset:
    """Read a table of path, pid and, where known, split, camid, bbox and further labels.

    Paths are below the table's folder or `images`, or absolute: then the root is the folder of all
    images, or, where that was moved, `images`.

    root:    the table, or a folder that holds one .csv file.   home: as `images`, found before.
    columns: which column is which, as in "path=file,pid=identity"; the others are recognised.
    pattern: of names that hold what the table has no column for.
    split, queries, frames: as of `read_folder`.

    Raises:
        BadInput: no table, columns that lack, or lines that do not parse.
    """
    names = None if pattern is None else NamePattern.of(pattern)
    needed = ("path",) if names is not None else ("path", "pid")
    remedy = "--columns path=…,pid=… says which is which"
    table = open_table(_table(root), columns=_columns(columns), needed=needed, remedy=remedy)
    path, notices = table.path, list(table.understood)
    if images is not None:
        home = Path(images).expanduser()
        if not home.is_dir():
            raise BadInput(f"--images {images} is no folder; that of the table's paths is wanted")
    home = home or path.parent
    rows = _rows(table, home=home, names=names)
    if any(os.path.isabs(row.name) for row in rows):
        told, written = home, rows
        home, rows = _below_one_folder(told, written)
        _, from_table = _below_one_folder(path.parent, written)  # without --images
        moved = () if _holds_some(home, rows) else (from_table, rows)
        if found := next((named for named in moved if _holds_some(told, named)), None):
            home, rows = told, found  # the folder was moved
        elif not _holds_some(home, rows):
            raise BadInput(
                f"{path}: its paths are absolute, and its pictures are not in {home}: "
                f"{rows[0].name} is not there; if that folder was moved, say where it is now with "
                "--images DIR"
            )
        notices.append(f"{path}: its paths are absolute; they are read below {home.absolute()}")
    if not rows:
        raise BadInput(f"{path} lists no images")
    if not _holds_some(home, rows):
        raise BadInput(
            f"{path}: its pictures are not in {home}: {rows[0].name} is not there; name the folder "
            "that its paths start from with --images DIR"
        )
    rows, tracks = (rows, {}) if frames is None else grouped(rows)
    drawn = with_splits(rows, share=split, queries=queries)
    notices += [f"{path}: {text}" for text in drawn.said]
    name = path.name if home == path.parent else str(path.absolute())
    with naming(path):
        data = numbered("csv", home, rows=drawn.rows)
    given = {"table": name, "columns": columns, "pattern": pattern, "frames": frames}
    options = {key: value for key, value in given.items() if value} | drawn.options
    return _sampled(
        replace(data, options=options, notices=(*data.notices, *notices)), tracks, frames=frames
    )


def _holds_some(home: Path, rows: Sequence[Row]) -> bool:
    return any((home / parts_of(row.name)[0]).exists() for row in rows[:LOOKED_FOR])


def read_csv_again(root: Path, *, table: str | None = None, **options: Any) -> Dataset:
    """Read a table, given itself, or its folder and its name (as manifests record it)."""
    if table is None or root.is_file():
        return read_csv(root, **options)
    if os.path.isabs(table):
        return read_csv(Path(table), home=root, **options)
    return read_csv(root / table, **options)


def _columns(text: str | None) -> dict[str, str]:
    """Return our fields and their columns, from `path=file,pid=identity`."""
    found: dict[str, str] = {}
    for part in (text or "").split(",") if text else ():
        field, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not column or field not in ALIASES:
            raise BadInput(
                f"--columns {text}: wanted path=…, pid=…, camid=…, split=… and perhaps "
                f"bbox, {', '.join(COLUMNS)}, as in path=file,pid=identity"
            )
        found[field] = column
    return found


def _below_one_folder(home: Path, rows: list[Row]) -> tuple[Path, list[Row]]:
    """Return the nearest folder that all images lie below, and the rows named from there."""
    places = [os.path.join(home.absolute(), row.name) for row in rows]
    own = f"{home.absolute()}{os.sep}"
    if not all(place.startswith(own) for place in places):
        home = Path(os.path.commonpath([os.path.dirname(place) for place in places]))
    names = [os.path.relpath(place, home.absolute()) for place in places]
    return home, [row._replace(name=name) for row, name in zip(rows, names, strict=True)]


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


def _rows(table: Table, *, home: Path, names: NamePattern | None) -> list[Row]:
    """Return the table's images; BadInput where one is listed twice, or lies we know not where."""
    rows, seen = [], set[str]()
    for line, name, person, camera, split, more, bbox in table.rows():
        where = f"{table.path}, line {line}"
        if not inside(name) and not (name.startswith("/") and inside(name.lstrip("/"))):
            raise BadInput(
                f"{where}: path {name!r} must be below {home}, with no '..', or absolute; --images "
                "DIR names another folder"
            )
        name = name.replace("\\", "/")
        fields = {} if names is None else names.fields(name)
        if fields is None or (names is not None and not person and "pid" not in fields):
            raise BadInput(f"{where}: {name} is not of --pattern {names and names.text}")
        name = boxed(name, bbox, where=where)
        if name in seen:
            raise BadInput(f"{where}: {name} is listed twice")
        seen.add(name)
        person = person or fields.get("pid", "")
        camera = camera or fields.get("camid") or str(NO_CAMERA)
        rows.append(Row(split, name, person, camera, _more(fields, more)))
    return rows


ENTRIES = (
    Entry(
        name="folder",
        title="Your images: a folder an identity, in train, query, gallery or not",
        read=read_folder,
        licence="yours",
        state="yours",
        options=("camera_pattern", "pattern", "split", "queries", "frames"),
    ),
    Entry(
        name="csv",
        title="Your images: a table of path, pid and, where known, split and camid",
        read=read_csv_again,
        licence="yours",
        state="yours",
        options=("table", "images", "columns", "pattern", "split", "queries", "frames"),
    ),
)
