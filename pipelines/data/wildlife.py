"""Animals from a metadata.csv (WildlifeDatasets, AnimalCLEF): training and test share identities.

The gallery is the set of known images, which is also what is trained on. Queries are told apart by
the table's split, or drawn here in the ways of Čermák et al., WildlifeDatasets, WACV 2024.
"""

import csv
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..embeddings import COLUMNS
from ..errors import BadInput, blaming, naming
from ..seeding import numpy_generator
from .boxes import boxed, mask_of, with_mask
from .entry import Entry
from .folders import inside, require_folder
from .masks import COLUMNS as MASKS
from .masks import named_mask
from .own_rows import Row, numbered
from .samples import Dataset
from .tables import encoding_of, plain

TABLE = "metadata.csv"
ROLES = {
    **dict.fromkeys(("database", "train", "training", "gallery", "reference"), "gallery"),
    **dict.fromkeys(("query", "queries", "test", "testing"), "query"),
}
NOBODY = ("", "nan", "none", "unknown", "newindividual")
KNOWN_SHARE = 0.8  # of an identity's images that are known (the paper's closed and open sets)
NEW_SHARE = 0.1  # of the identities that are not known at all (open set)
SEED = 0


def read_wildlife(root: Path, *, variant: str | None = None, no_masks: bool = False) -> Dataset:
    """Read a folder with a metadata.csv of path and identity and, where known, other columns.

    These are split, bbox, segmentation or mask (COCO's RLE, polygons, or a path of an image), date
    (a label `time`), and position or orientation (`viewpoint`).

    variant: given: by the table's split (the default where it has one); closed: a fifth of each
             identity's images are queries (the default where not); open: a tenth of the identities
             besides, of which no image is known; disjoint: half of the identities to train on,
             every image of the others is a query; time: the later half of each identity's days are
             queries. What is drawn is drawn with seed 0.
    no_masks: leave what lies outside of a mask as it is; else it is made black.

    Raises:
        BadInput: no such table, a column that lacks, a path that leads out of the folder, a box or
            a mask that is none.
    """
    require_folder(root, "wildlife")
    path = root / TABLE
    if not path.is_file():
        found = sorted(root.glob(f"*/{TABLE}"))
        if len(found) != 1:
            raise BadInput(f"{root} has no {TABLE}; wildlife is a folder with one")
        path = found[0]
    rows, named = _rows(path, masked=not no_masks)
    how = variant or ("given" if any(row.split for row in rows) else "closed")
    if how not in VARIANTS:
        raise BadInput(f"--variant {variant}: wildlife has {', '.join(VARIANTS)}")
    with naming(path):
        data = numbered("wildlife", path.parent, rows=VARIANTS[how](rows))
    if not data.splits["gallery"]:
        raise BadInput(f"{path}: no image with an identity is known; wanted some of split database")
    notices = [f"{path}: read {', '.join(named)}; queries and known images: --variant {how}"]
    if data.junk:
        notices.append(f"{path}: {data.junk:,} images have no identity and are left out")
    if any(mask_of(row.name) for row in rows):
        notices.append(f"{path}: outside of masks pictures are made black; --no-masks leaves them")
    given: dict[str, Any] = {"variant": variant, "no_masks": no_masks}
    options = {name: value for name, value in given.items() if value}
    if how == "disjoint":
        splits = {**data.splits, "query": data.splits["gallery"]}
        return replace(
            data, splits=splits, options=options, notices=tuple(notices), rules="wildlife"
        )
    known = {sample.pid for sample in data.splits["gallery"]}
    new = any(sample.pid not in known for sample in data.splits["query"])
    return replace(
        data,
        splits={**data.splits, "train": data.splits["gallery"]},
        options=options,
        notices=tuple(notices),
        rules="wildlife-open" if new else "wildlife",
        same_people=True,
    )


def _rows(path: Path, *, masked: bool) -> tuple[list[Row], list[str]]:
    """Return the table's images, their split "" where it has none, and the columns read."""
    with blaming(path, saying="cannot be read as a table"):
        with path.open(encoding=encoding_of(path), newline="") as file:
            reader = csv.DictReader(file)
            names = {plain(name): name for name in reader.fieldnames or ()}
            lines = [(reader.line_num, line) for line in reader]
    for needed in ("path", "identity"):
        if needed not in names:
            raise BadInput(f"{path} has no column {needed}; it has {', '.join(names.values())}")
    masks = MASKS if masked else ()
    wanted = ("path", "identity", "split", "bbox", "date", "position", "orientation", *masks)
    rows, seen = [], set[str]()
    for number, line in lines:
        where = f"{path}, line {number}"
        cells = {name: (line.get(names.get(name, "")) or "").strip() for name in wanted}
        name = cells["path"].replace("\\", "/")
        if not inside(name):
            raise BadInput(f"{where}: path {name!r} must be below {path.parent}")
        name = boxed(name, cells["bbox"], where=where)
        for column in masks:
            mask = named_mask(cells[column], table=path.name, where=where)
            name = name if mask_of(name) else with_mask(name, mask)
        if name in seen:
            raise BadInput(f"{where}: {name} is listed twice")
        seen.add(name)
        split = plain(cells["split"])
        if split and split not in ROLES:
            raise BadInput(f"{where}: split is {cells['split']!r}; wanted database or query")
        person = "-1" if plain(cells["identity"]) in NOBODY else cells["identity"]
        viewpoint = cells["position"] or cells["orientation"]
        labels = {"time": cells["date"], "viewpoint": viewpoint}
        more = tuple(labels.get(column, "") for column in COLUMNS)
        rows.append(Row(ROLES.get(split, ""), name, person, "-1", more))
    return rows, [name for name in wanted if name in names]


def _of_each(rows: Sequence[Row]) -> dict[str, list[Row]]:
    people: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows):
        people[row.person].append(row)
    return dict(sorted(people.items()))


def _given(rows: Sequence[Row]) -> list[Row]:
    if not any(row.split for row in rows):
        raise BadInput("--variant given: the table has no column split")
    return [row for row in rows if row.split]


def _drawn(rows: Sequence[Row], *, new: float) -> list[Row]:
    """Take queries out of each identity's images, and all those of a share of the identities."""
    random = numpy_generator(SEED, "wildlife")
    people = _of_each(rows)
    named = [person for person in people if person != "-1"]
    count = max(1, round(new * len(named))) if new else 0
    unknown = {named[place] for place in random.permutation(len(named))[:count]}
    found = []
    for person, own in people.items():
        order = random.permutation(len(own))
        known = 0 if person in unknown else len(own)
        if known > 1:
            known = min(max(1, round(KNOWN_SHARE * len(own))), len(own) - 1)
        for place, number in enumerate(order):
            found.append(own[number]._replace(split="gallery" if place < known else "query"))
    return found


def _disjoint(rows: Sequence[Row]) -> list[Row]:
    people = _of_each(rows)
    named = [person for person in people if person != "-1"]
    order = numpy_generator(SEED, "wildlife").permutation(len(named))
    training = {named[place] for place in order[: len(named) // 2]}
    return [
        row._replace(split="train" if row.person in training else "gallery") for row in sorted(rows)
    ]


def _by_time(rows: Sequence[Row]) -> list[Row]:
    place = COLUMNS.index("time")
    if not any(row.more[place] for row in rows):
        raise BadInput("--variant time: the table has no column date with dates in it")
    found = []
    for own in _of_each([row for row in rows if row.more[place]]).values():
        days = sorted({row.more[place][:10] for row in own})
        known = set(days[: (len(days) + 1) // 2])
        found += [
            row._replace(split="gallery" if row.more[place][:10] in known else "query")
            for row in own
        ]
    return found


VARIANTS: dict[str, Callable[[Sequence[Row]], list[Row]]] = {
    "given": _given,
    "closed": lambda rows: _drawn(rows, new=0.0),
    "open": lambda rows: _drawn(rows, new=NEW_SHARE),
    "disjoint": _disjoint,
    "time": _by_time,
}


def _has_animals(folder: Path) -> bool:
    """Return whether a folder's table has the columns that are read, and is not some other."""
    try:
        with (folder / TABLE).open(encoding=encoding_of(folder / TABLE), newline="") as file:
            names = {plain(name) for name in next(csv.reader(file), [])}
    except (OSError, UnicodeError, csv.Error):
        return False
    return {"path", "identity"} <= names


ENTRIES = (
    Entry(
        name="wildlife",
        title="Animals: a folder with a metadata.csv (WildlifeDatasets, AnimalCLEF)",
        read=read_wildlife,
        url="https://github.com/WildlifeDatasets/wildlife-datasets",
        licence="of each set",
        state="available; --variant given, closed, open, disjoint or time",
        options=("variant", "no_masks"),
        rules="wildlife",
        marks=((TABLE,),),
        looks=_has_animals,
    ),
)
