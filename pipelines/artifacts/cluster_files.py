"""clusters.csv, which a person may edit, and tables of pairs -> constraints for a clustering."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.tables import SEPARATORS, encoding_of, lines_of, plain
from ..errors import BadInput
from ..files import require_file

if TYPE_CHECKING:  # it loads SciPy, which a look at a table's titles can do without
    from ..clustering.constraints import Constraints

COLUMNS = (
    *("row", "name", "identity", "cluster", "confidence", "nearest", "distance"),
    *("representative", "confirmed"),
)
YES = "yes"
NEEDED = ("name", "identity", "cluster")  # of an edited file
NUMBER = re.compile(r"\d+(?:[.,]0*)?")  # 3, or 3.0 as some programs write it: no name


@dataclass(frozen=True, eq=False)
class Members:
    """The rows of clusters.csv: names and, [N] each, what is known of them.

    identity:       a number from 0.
    confidence:     the silhouette, -1 to 1.
    nearest:        the nearest other identity; -1 where there is none.
    distance:       to that one: 1 less the mean cosine; NaN where there is none.
    representative: whether the row is its identity's medoid.
    confirmed:      whether a person has put the row where it is.
    called:         the names that a person gave to identities, by number.
    """

    names: Sequence[str]
    identity: np.ndarray
    confidence: np.ndarray
    nearest: np.ndarray
    distance: np.ndarray
    representative: np.ndarray
    confirmed: np.ndarray
    called: Mapping[int, str] = field(default_factory=dict)

    def label(self, identity: int) -> str:
        """Return the name that a person gave to an identity, or else its number."""
        return self.called.get(identity, str(identity))


def write_members(path: Path, members: Members) -> None:
    """Write clusters.csv to `path` itself: a line for each row, in the rows' order."""
    with path.open("w", encoding="utf-8", newline="", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row, name in enumerate(members.names):
            known = members.nearest[row] >= 0
            identity = int(members.identity[row])
            nearest = members.label(int(members.nearest[row])) if known else ""
            writer.writerow(
                [
                    *(row, name, members.label(identity), identity),
                    f"{members.confidence[row]:.4f}",
                    nearest,
                    f"{members.distance[row]:.4f}" if known else "",
                    YES if members.representative[row] else "",
                    YES if members.confirmed[row] else "",
                ]
            )


def read_members(path: Path) -> Members:
    """Read clusters.csv as `write_members` wrote it."""
    lines = list(_records(path))
    columns: dict[str, list[str]] = {name: [line[name] for line in lines] for name in COLUMNS}
    labels = dict(zip(columns["cluster"], columns["identity"], strict=True))
    numbers = {"": -1} | {text: int(number) for number, text in labels.items()}
    whole = {
        name: np.array([numbers[text] for text in columns[name]], np.int64)
        for name in ("identity", "nearest")
    }
    called = {int(number): text for number, text in labels.items() if text != number}
    parts = {
        name: np.array([float(text or "nan") for text in columns[name]], np.float32)
        for name in ("confidence", "distance")
    }
    marks = {
        name: np.array([text == YES for text in columns[name]], bool)
        for name in ("representative", "confirmed")
    }
    return Members(columns["name"], **whole, **parts, **marks, called=called)


@dataclass(frozen=True, eq=False)
class Edited:
    """What a person decided in a clusters.csv.

    confirmed: [N] bool, the rows of identities that were looked at.
    called:    a row of each identity that has a name rather than a number, by the name.
    """

    constraints: "Constraints"
    confirmed: np.ndarray
    called: Mapping[str, int]

    def __str__(self) -> str:
        """Say how much a person decided."""
        return (
            f"decided by hand: {len(self.constraints.apart):,} identities of "
            f"{int(self.confirmed.sum()):,} rows, {len(self.called):,} of them named; no two of "
            "them are merged"
        )


def read_edited(path: Path, names: Sequence[str]) -> Edited:
    """Return what a person decided who changed the column `identity` of clusters.csv.

    An identity counts as looked at if its rows were in several clusters, if the rows of one of its
    clusters are now of several identities, if it has a name rather than a number, or if a row of it
    says confirmed = yes. All rows of such an identity are one person; no two such identities are.
    Lines may be missing and in any order.

    Raises:
        BadInput: not such a file; a name that is none of `names`; a line without an identity.
    """
    from ..clustering.constraints import Constraints

    places = _places(names)
    rows, identities, clusters, confirmed = [], [], [], []
    for line in edited_lines(path):
        where = f"{path}, line {line['line']}"
        rows.append(_row(line["name"], line.get("row", ""), names=names, places=places, at=where))
        identities.append(line["identity"])
        clusters.append(line["cluster"])
        confirmed.append(line.get("confirmed", "").lower() in (YES, "y", "true", "1", "x"))
    if len(set(rows)) < len(rows):
        twice = next(row for row in rows if rows.count(row) > 1)
        raise BadInput(f"{path}: {names[twice]} stands in two lines; take one out")
    (people, person), (_, group) = (
        np.unique(np.array(texts, str), return_inverse=True) for texts in (identities, clusters)
    )
    cells = np.unique(np.stack([person, group]), axis=1)  # each identity with each of its clusters
    of_people, of_groups = np.bincount(cells[0]), np.bincount(cells[1])
    named = np.array([NUMBER.fullmatch(text) is None for text in people], bool)
    looked = named | (of_people > 1)
    looked[cells[0][of_groups[cells[1]] > 1]] = True
    looked[person[np.array(confirmed, bool)]] = True
    place, decided = np.array(rows, np.int64), looked[person]
    order = np.flatnonzero(decided)[np.argsort(person[decided], kind="stable")]
    same = np.diff(person[order], prepend=-1) == 0
    heads = place[order[~same]]
    mask = np.zeros(len(names), bool)
    mask[place[decided]] = True
    constraints = Constraints(
        len(names),
        first=place[order[np.flatnonzero(same) - 1]],
        second=place[order[same]],
        apart=heads,
        group=np.zeros(len(heads), np.int64),
    )
    who = zip(identities, rows, strict=True)
    return Edited(constraints, mask, {text: row for text, row in who if not NUMBER.fullmatch(text)})


def edited_lines(path: Path) -> Iterator[dict[str, str]]:
    """Yield the lines of an edited clusters.csv by their titles, and each one's number as `line`.

    Raises:
        BadInput: not such a file, or a line without an identity.
    """
    for line in _records(path):
        if not line["identity"]:
            raise BadInput(
                f"{path}, line {line['line']}: no identity; write a name or a number of your own"
            )
        yield line


def read_pairs(path: Path, names: Sequence[str], *, together: bool) -> "Constraints":
    """Return the pairs of rows, two names or numbers from 0 a line, as constraints.

    The first line may have titles.   together: whether the two of a pair are one identity.

    Raises:
        BadInput: no such table, or a cell that is no row's name or number.
    """
    from ..clustering.constraints import Constraints

    places = _places(names)
    pairs: list[tuple[int, int]] = []
    for number, fields in _lines(path):
        cells = [cell for cell in fields if cell]
        if not cells:
            continue
        where = f"{path}, line {number}"
        if len(cells) != 2:
            raise BadInput(f"{where}: {len(cells)} cells; two rows' names or numbers are wanted")
        if number == 1 and not any(cell in places or cell.isdigit() for cell in cells):
            continue  # titles
        one, other = (
            _row(cell, cell if cell.isdigit() else "", names=names, places=places, at=where)
            for cell in cells
        )
        if one == other:
            raise BadInput(f"{where}: {cells[0]} stands on both sides of a pair")
        pairs.append((one, other))
    array = np.array(pairs, np.int64).reshape(-1, 2)
    if together:
        return Constraints(len(names), first=array[:, 0], second=array[:, 1])
    groups = np.repeat(np.arange(len(array)), 2)
    return Constraints(len(names), apart=array.ravel(), group=groups)


def _places(names: Sequence[str]) -> dict[str, int]:
    """Return the row of each name, -1 of one that stands twice."""
    places: dict[str, int] = {}
    for row, name in enumerate(names):
        places[name] = -1 if name in places else row
    return places


def _row(
    name: str, number: str, *, names: Sequence[str], places: Mapping[str, int], at: str
) -> int:
    """Return the row that a name means or, where none or several have it, a number."""
    found = places.get(name)
    if found is not None and found >= 0:
        return found
    row = int(number) if number.isdigit() else len(names)
    if row < len(names) and (found is None or names[row] == name):
        return row
    what = "is no row's name or number" if found is None else "is the name of several rows"
    remedy = f"rows are called such as {names[0]}, or numbered 0 to {len(names) - 1:,}"
    raise BadInput(f"{at}: {name!r} {what}; {remedy}")


def _records(path: Path) -> Iterator[dict[str, str]]:
    """Yield the lines of a table by the titles of its first, with the line's number as `line`."""
    titles: list[str] = []
    for number, fields in _lines(path):
        if not titles:
            titles = [plain(title) for title in fields]
            missing = [name for name in NEEDED if name not in titles]
            if missing:
                raise BadInput(
                    f"{path} has no column {', '.join(missing)}; the clusters.csv that nformer "
                    "cluster wrote is wanted, its column identity edited"
                )
        elif any(fields):
            if len(fields) < len(titles):
                raise BadInput(
                    f"{path}, line {number}: {len(fields)} fields; its first line has {len(titles)}"
                )
            yield {**dict(zip(titles, fields, strict=False)), "line": str(number)}
    if not titles:
        raise BadInput(f"{path} is empty; a clusters.csv is wanted")


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines of a CSV, separated by whatever splits its first line most."""
    require_file(path, "a table (.csv)")
    encoding = encoding_of(path)
    separator = max(
        SEPARATORS,
        key=lambda one: len(next(lines_of(path, encoding, separator=one), (1, []))[1]),
    )
    yield from lines_of(path, encoding, separator=separator)
