"""A CSV of images as people write it: its encoding, separator and columns are recognised, and said.

Excel's `;`, tabs, UTF-16, capitals and the usual other names of a column are all read.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from ..embeddings import SPLITS
from ..errors import BadInput
from ..files import require_file

# By field, the names that a column may have: the first that stands in the table is read.
ALIASES = {
    "path": (
        *("path", "imagepath", "imgpath", "filepath", "filename", "file", "image", "img"),
        *("imagename", "imgname", "imagefile", "imagefilename", "imgfile"),
    ),
    "pid": ("pid", "personid", "identity", "identityid", "label", "id", "person", "vehicleid"),
    "camid": ("camid", "cameraid", "camera", "cam"),
    "split": ("split", "subset", "set", "partition"),
    "clothes": ("clothes", "clothesid", "clothid", "clothing"),
    "track": ("track", "trackid", "tracklet", "trackletid"),
    "time": ("time", "timestamp", "date", "datetime"),
    "illumination": ("illumination", "light", "lighting"),
    "viewpoint": ("viewpoint", "viewangle", "orientation"),
    "bbox": ("bbox", "box", "boundingbox"),
}
NEEDED = ("path", "pid", "split")
OPTIONAL = ("camid", "split")  # fields
SPLIT_HOLDS = "; split is train, query or gallery in each line"
BEGINNING = 80  # characters of a table that a message shows
SEPARATORS = (",", ";", "\t", "|")
# What others call the splits. "val" is the query where its people stand in "test".
SPLIT_NAMES = {
    **{name: name for name in SPLITS},
    **{name: "train" for name in ("training", "boundingboxtrain")},
    **{name: "query" for name in ("queries", "probe")},
    "boundingboxtest": "gallery",
}
TEST, VALIDATION = ("test", "testing"), ("val", "valid", "validation")
KNOWN = frozenset((*SPLIT_NAMES, *TEST, *VALIDATION))
MARKS = (
    *((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32")),
    *((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")),
)


class Row(NamedTuple):
    """One line, as text; `camid` is "" where it is not known.   more: by a name of COLUMNS.

    bbox: the part of the picture that is meant: x, y, width and height; "": all of it.
    """

    line: int
    path: str
    pid: str
    camid: str
    split: str
    more: tuple[str, ...] = ()
    bbox: str = ""


@dataclass(frozen=True)
class Table:
    """A CSV whose header was understood.

    columns: field -> place in a line.   splits: the splits it names -> ours, "" for none of them.
    understood: sentences about what was recognised rather than as the manual has it.
    """

    path: Path
    encoding: str
    separator: str
    header: tuple[str, ...]
    columns: dict[str, int]
    splits: dict[str, str] = field(default_factory=dict)
    understood: tuple[str, ...] = ()

    @property
    def numbers(self) -> list[int]:
        """The places of the columns of an embedding, in its order: f0, f1, … or 1, 2, …

        [] where no two columns are called so, or one of them lacks.
        """
        found: dict[str, dict[int, int]] = {}
        for place, name in enumerate(self.header):
            parts = re.fullmatch(r"(.*?)([0-9]{1,6})", name)
            if parts and place not in self.columns.values():
                found.setdefault(parts[1], {})[int(parts[2])] = place
        places = max(found.values(), key=len, default={})
        first = min(places, default=0)
        whole = first in (0, 1) and len(places) == 1 + max(places, default=0) - first
        return [places[number] for number in sorted(places)] if whole and len(places) > 1 else []

    def rows(self, *, every: bool = False) -> Iterator[Row]:
        """Yield the lines that are not empty, their split as we call it.

        every: those of splits that are not read too, their split "".

        Raises:
            BadInput: a line of another length, without a pid or a split, or with a NUL in it.
        """
        places = [self.columns.get(name, -1) for name in ALIASES]
        for line, fields in lines_of(self.path, self.encoding, separator=self.separator):
            if line == 1 or not any(fields):
                continue
            where = f"{self.path}, line {line}"
            if len(fields) < len(self.header) or any(fields[len(self.header) :]):
                raise BadInput(f"{where}: {len(fields)} fields; the header has {len(self.header)}")
            path, pid, camid, split, *more, bbox = (
                fields[place] if place >= 0 else "" for place in places
            )
            if not pid and "pid" in self.columns:
                raise BadInput(f"{where}: no pid")
            if "\0" in path + pid + camid:
                raise BadInput(f"{where}: path {path!r} holds a NUL character")
            ours = self.splits[split] if self.splits else split
            if ours or every or "split" not in self.columns:
                yield Row(line, path, pid, camid, ours, tuple(more), bbox)


def open_table(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    needed: Sequence[str] = NEEDED,
    remedy: str = "rename its columns so",
) -> Table:
    """Read a table's header, and which splits it names.

    columns: the column of a field, where it is not to be recognised.   needed: fields.
    remedy:  what to do where the columns have other names.

    Raises:
        BadInput: no text, a column that lacks or stands twice, or an unknown split.
    """
    require_file(path, "a table (.csv) of path, pid, camid and split")
    encoding, given = encoding_of(path), columns or {}
    table = max(
        (_header(path, encoding, separator=separator, given=given) for separator in SEPARATORS),
        key=lambda table: (len(table.columns), -SEPARATORS.index(table.separator)),
    )
    _require_columns(table, needed=needed, given=given, remedy=remedy)
    if "split" not in table.columns:
        return replace(table, understood=tuple(f"{path}: {text}" for text in _recognised(table)))
    people: dict[str, set[str]] = {}
    for row in table.rows(every=True):
        if row.split not in people and plain(row.split) not in KNOWN:
            raise BadInput(
                f"{path}, line {row.line}: split is {row.split!r}; wanted {', '.join(SPLITS)}"
            )
        people.setdefault(row.split, set()).add(row.pid)
    splits, said = split_roles(people)
    told = [*_recognised(table), *said]
    return Table(
        *(path, encoding, table.separator, table.header, table.columns),
        splits=splits,
        understood=tuple(f"{path}: {text}" for text in told),
    )


def split_roles(people: dict[str, set[str]]) -> tuple[dict[str, str], list[str]]:
    """Return our split, or "" for none, of each split as others call it, and what was guessed.

    people: the identities of each. `test` is the gallery; `val` is the query where there is none
    and its people stand in test, else it is not read.
    """
    roles = {name: SPLIT_NAMES.get(plain(name), "") for name in people}
    said = []
    for name in [name for name in people if plain(name) in TEST]:
        if "gallery" in roles.values():
            said.append(f"{name!r} is not read: there is a gallery already")
        else:
            roles[name] = "gallery"
            said.append(f"{name!r} is read as the gallery")
    gallery = set().union(*(people[name] for name, role in roles.items() if role == "gallery"))
    for name in [name for name in people if plain(name) in VALIDATION]:
        if "query" not in roles.values() and people[name] and people[name] <= gallery:
            roles[name] = "query"
            said.append(f"{name!r} is read as the query: its people all stand in the gallery")
        else:
            said.append(f"{name!r} is not read: train, query and gallery (or test) are")
    return roles, said


def plain(name: str) -> str:
    """Return a column's or a split's name without capitals, spaces and underscores."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def encoding_of(path: Path) -> str:
    """Return how a text file is encoded: UTF-8, or UTF-16 or -32 where it begins so."""
    with path.open("rb") as file:
        head = file.read(4)
    return next((name for mark, name in MARKS if head.startswith(mark)), "utf-8-sig")


def columns_of(header: Sequence[str], given: Mapping[str, str] | None = None) -> dict[str, int]:
    """Return the place of each of our fields in a header, by any of its names.

    given: the names of fields that are not to be recognised.
    """
    names = [plain(name) for name in header]
    known = ALIASES | {field: (plain(name),) for field, name in (given or {}).items()}
    found = {
        ours: next((names.index(alias) for alias in aliases if alias in names), -1)
        for ours, aliases in known.items()
    }
    return {ours: place for ours, place in found.items() if place >= 0}


def _header(path: Path, encoding: str, *, separator: str, given: Mapping[str, str]) -> Table:
    _, header = next(lines_of(path, encoding, separator=separator), (1, []))
    return Table(path, encoding, separator, tuple(header), columns_of(header, given))


def _require_columns(
    table: Table, *, needed: Sequence[str], given: Mapping[str, str], remedy: str
) -> None:
    names = [plain(name) for name in table.header]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise BadInput(f"{table.path} has the column {', '.join(twice)} more than once")
    lacking = [column for field, column in given.items() if field not in table.columns]
    if lacking:
        paired = any("=" in column for column in lacking)
        apart = "; commas stand between pairs: path=FILE,pid=NAME" if paired else ""
        raise BadInput(
            f"{table.path} has no column {', '.join(lacking)}{apart}; it has "
            f"{', '.join(table.header)}"
        )
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise BadInput(
            f"{table.path} has no column {', '.join(missing)}: its first line is "
            f"{_beginning(table)!r}; wanted path,pid,camid,split "
            f"({' and '.join(one for one in OPTIONAL if one not in needed)} may be absent"
            f"{SPLIT_HOLDS * ('split' in missing)}): {remedy}"
        )


def _beginning(table: Table) -> str:
    """Return the first columns of a table, as many as a line of a message has room for."""
    shown, names = "", table.header
    for number, name in enumerate(names):
        if number and len(shown) + len(name) > BEGINNING:
            return f"{shown}{table.separator}…"
        shown += table.separator * bool(number) + name
    return shown


def _recognised(table: Table) -> list[str]:
    """Return what the table has otherwise than path,pid,camid,split in UTF-8."""
    said, taken = [], set(table.columns.values())
    named = {table.header[place]: name for name, place in table.columns.items()}
    other = [f"{name!r} as {ours}" for name, ours in named.items() if plain(name) != ours]
    if other:
        said.append(f"read {', '.join(other)}")
    if table.separator != ",":
        said.append(f"separated by {table.separator!r}")
    if table.encoding != "utf-8-sig":
        said.append(f"in {table.encoding.upper()}")
    numbers = table.numbers
    if numbers:
        ends = table.header[numbers[0]], table.header[numbers[-1]]
        said.append(f"{len(numbers)} columns of numbers, {' to '.join(ends)}")
    taken.update(numbers)
    ignored = [name for place, name in enumerate(table.header) if name and place not in taken]
    if ignored:
        said.append(f"ignored {', '.join(ignored)}")
    return said


def lines_of(path: Path, encoding: str, *, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line numbers and fields without outer spaces."""
    try:
        with path.open(encoding=encoding, newline="") as file:
            reader = csv.reader(file, strict=True, delimiter=separator, skipinitialspace=True)
            for number, fields in enumerate(reader):
                yield (reader.line_num if number else 1), [field.strip() for field in fields]
    except (UnicodeError, csv.Error) as error:
        raise BadInput(f"{path} is not a CSV file in UTF-8 ({error})") from error
