"""A user's own images as rows: splits drawn where they have none, persons and cameras numbered."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..embeddings import COLUMNS, SPLITS
from ..errors import BadInput
from ..labels import LabelNames, column_numbers, column_values, names_of, numbers_of, told_of_nobody
from ..seeding import numpy_generator
from .samples import NO_CAMERA, Dataset, Sample

UNSPLIT, TEST = "", "test"  # no split at all; of the test split, query or gallery not said
SHARE = 0.5  # of the identities, for training, where there is no split
RULES = ("camera", "identity")
SEED = 0


class Row(NamedTuple):
    """One image before its person has a number.

    more: further labels as text, in the order of `embeddings.COLUMNS`; "" where not known.
    """

    split: str
    name: str
    person: str
    camera: str
    more: tuple[str, ...] = ()


class Drawn(NamedTuple):
    """Rows with a split each, what was drawn as options that draw it again, and sentences."""

    rows: list[Row]
    options: dict[str, Any]
    said: list[str]


def with_splits(
    rows: Sequence[Row], *, share: float | None = None, queries: str | None = None
) -> Drawn:
    """Give every row a split: train, query or gallery.

    share:   of the identities without a split, for training; the others are for the test.
    queries: of the test identities: camera: one image of each of their cameras; identity: one
             image; N: N images. The rest is the gallery. A person whose images are too few, or all
             of one camera, is no query.

    Where every row has a split already, `share` and `queries` must not be given.

    Raises:
        BadInput: a share outside of 0 … 1, an unknown rule, or nothing to draw from.
    """
    options: dict[str, Any] = {}
    said: list[str] = []
    if share is not None and not 0 <= share <= 1:
        raise BadInput(f"--split {share}: the share of identities to train on is from 0 to 1")
    rule = _rule(queries)
    found = list(rows)
    if any(row.split == UNSPLIT for row in found):
        options["split"] = SHARE if share is None else share
        found, text = _with_training(found, options["split"])
        said.append(text)
    elif share is not None:
        raise BadInput(
            f"--split {share}: these images have a split already ({_listed(found)}); leave it out"
        )
    if any(row.split == TEST for row in found):
        options["queries"] = queries or RULES[0]
        found, text = _with_queries(found, rule)
        said.append(text)
    elif queries is not None:
        raise BadInput(
            f"--queries {queries}: these images have their queries already ({_listed(found)}); "
            "leave it out"
        )
    return Drawn(found, options, said)


def numbered(dataset: str, root: Path, *, rows: Sequence[Row]) -> Dataset:
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
    labels = LabelNames(names_of(pids), names_of(camids))
    notices = tuple(told_of_nobody(labels.pids))
    return Dataset(
        *(dataset, root, splits), junk=junk, labels=labels, columns=_columns(rows), notices=notices
    )


def _columns(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Return the further labels that some row has, by the image's name."""
    found = {}
    for place, column in enumerate(COLUMNS):
        given = {row.name: row.more[place] for row in rows if row.more and row.more[place]}
        if given:
            texts = column_values(np.array(list(given.values()))).astype(str).tolist()
            numbers = column_numbers(texts)
            found[column] = {name: numbers[text] for name, text in zip(given, texts, strict=True)}
    return found


def _rule(queries: str | None) -> str | int:
    rule = queries or RULES[0]
    if rule in RULES:
        return rule
    if not rule.isdecimal() or int(rule) < 1:
        raise BadInput(f"--queries {queries}: wanted {', '.join(RULES)}, or a number of images")
    return int(rule)


def _with_training(rows: list[Row], share: float) -> tuple[list[Row], str]:
    people = sorted({row.person for row in rows if row.split == UNSPLIT})
    order = numpy_generator(SEED, "split").permutation(len(people))
    count = round(share * len(people))
    training = {people[place] for place in order[:count]}
    found = [
        row._replace(split="train" if row.person in training else TEST)
        if row.split == UNSPLIT
        else row
        for row in rows
    ]
    text = (
        f"the images name no split: {count} of {len(people)} identities, drawn with seed {SEED}, "
        f"are for training, the others for the test (--split {share:g})"
    )
    return found, text


def _with_queries(rows: list[Row], rule: str | int) -> tuple[list[Row], str]:
    """Take queries out of the test rows; the rest is the gallery."""
    people: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        if row.split == TEST:
            people[row.person].append(number)
    generator = numpy_generator(SEED, "queries")
    chosen: set[int] = set()
    alone = 0
    for person in sorted(people):
        own = [people[person][place] for place in generator.permutation(len(people[person]))]
        taken = _queries_of(own, [rows[number].camera for number in own], rule=rule)
        alone += not taken
        chosen.update(taken)
    found = [
        row._replace(split="query" if number in chosen else "gallery") if row.split == TEST else row
        for number, row in enumerate(rows)
    ]
    seen = any(row.camera != str(NO_CAMERA) for row in rows)
    what = {
        "camera": f"one image of each identity{' and camera' * seen}",
        "identity": "one of each identity",
    }
    how = what.get(str(rule), f"{rule} images of each identity")
    text = f"the queries are {how} of the test, {len(chosen)} in all (--queries {rule})"
    text += f"; {alone} identities have no other image to be found" if alone else ""
    return found, text


def _queries_of(own: Sequence[int], cameras: Sequence[str], *, rule: str | int) -> list[int]:
    """Return the rows of a person that are queries, so that each has a match in what remains."""
    known = [camera for camera in cameras if camera != str(NO_CAMERA)]
    needed = 2 if known else 1  # cameras, as a match of the query's own camera does not count
    if len(own) < 2 or len(set(cameras)) < needed:
        return []
    if rule == "camera":
        firsts = [cameras.index(camera) for camera in dict.fromkeys(cameras)]
        taken = [own[place] for place in firsts]
    else:
        taken = list(own[: 1 if rule == "identity" else int(rule)])
    while taken and not all(_has_match(row, own, taken=taken, cameras=cameras) for row in taken):
        taken.pop()
    return taken


def _has_match(
    row: int, own: Sequence[int], *, taken: Sequence[int], cameras: Sequence[str]
) -> bool:
    camera = dict(zip(own, cameras, strict=True))
    rest = [other for other in own if other not in taken]
    unknown = str(NO_CAMERA)
    return any(camera[other] != camera[row] or unknown == camera[row] for other in rest)


def _listed(rows: Sequence[Row]) -> str:
    return ", ".join(sorted({row.split for row in rows}))
