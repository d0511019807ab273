"""The data sets that have a reader: what each is, where to get it, and its published counts."""

import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..progress import Progress, Silent
from . import (
    clothes,
    cuhk03,
    folder_and_csv,
    halves,
    infrared,
    market1501,
    msmt17,
    occluded,
    products,
    vehicles,
    video,
    wildlife,
)
from .entry import ANY, Entry
from .folders import unread_endings
from .misreading import misreading
from .samples import Dataset, SplitCounts
from .several import SETS, joined
from .synthetic.dataset import read_synthetic
from .tables import plain

SAME_SET = 0.9  # share of the published identities: with fewer it is another data set

ENTRIES = (
    *market1501.ENTRIES,
    *msmt17.ENTRIES,
    *cuhk03.ENTRIES,
    *occluded.ENTRIES,
    *video.ENTRIES,
    *clothes.ENTRIES,
    *infrared.ENTRIES,
    *halves.ENTRIES,
    *vehicles.ENTRIES,
    *products.ENTRIES,
    *wildlife.ENTRIES,
    *folder_and_csv.ENTRIES,
    Entry(
        name="synthetic",
        title="Drawn people",
        read=read_synthetic,
        licence="MIT, as this program",
        state="drawn by nformer demo",
    ),
)

ALIASES = {  # other names of data sets, letters and digits alone
    "market": "market1501",
    "dukemtmc": "dukemtmcreid",
    "duke": "dukemtmcreid",
    "cuhk03labeled": "cuhk03-labelled",
}


def entry(name: str) -> Entry:
    """Return the catalogue's entry for a data set, whatever the case and hyphens of its name.

    Raises:
        BadInput: the catalogue has no such data set; lists those it has.
    """
    known = {one.name: one for one in ENTRIES}
    spelled = {plain(one): one for one in known} | ALIASES
    wanted = spelled.get(plain(name), name.lower())
    if wanted not in known:
        _require_no_place(name)
        near = get_close_matches(plain(name), spelled, n=1)
        meant = f"did you mean {spelled[near[0]]}? Known" if near else "known"
        raise BadInput(
            f"{name!r} is no data set known here; {meant} are {', '.join(known)} (folder and csv: "
            "your own pictures)"
        )
    return known[wanted]


def _require_no_place(name: str) -> None:
    """Raise BadInput where what stands for a data set's name is a folder or a table."""
    place = Path(name).expanduser()
    if not place.is_dir() and not (place.is_file() and place.suffix.lower() == ".csv"):
        return
    what, own = ("folder", "folder") if place.is_dir() else ("table", "csv")
    reader = next((one.name for one in recognised(place)), own)
    line = shlex.join(["nformer", "check-data", reader, "--root", name])
    raise BadInput(
        f"{name!r} is no data set known here but a {what}; give its reader, {reader}, and the "
        f"{what} as --root. To look at it first: {line}"
    )


def rules_of(name: str) -> str:
    """Return the name of the rules that a data set's users evaluate by; of others, the first."""
    known = next((one for one in ENTRIES if one.name == name), None)
    return Entry.rules if known is None else known.rules


def title_of(facts: Mapping[str, Any]) -> str:
    """Return a data set's name as people write it, from the facts kept with an artifact.

    One that only shares the layout of a published set is called by its folder; a table, by its
    file.
    """
    name = str(facts.get("dataset") or "")
    known = next((one for one in ENTRIES if one.name == name), None)
    if known is None:
        return name
    title, folder = known.title.partition(":")[0], Path(str(facts.get("root") or "")).name
    options, images = facts.get("options") or {}, facts.get("images") or {}
    folder = Path(str(options.get("table") or folder)).name
    unlike = any(
        images.get(split, counts.images) < SAME_SET * counts.images
        for split, counts in known.published(options).items()
    )
    if unlike and folder:
        return f"{folder} ({title}'s layout)"
    many = known.licence in ("yours", "of each set")  # told apart by their folders
    return f"{title}, {folder}" if many and folder else title


def open_dataset(
    name: str | Dataset,
    root: str | Path,
    *,
    options: Mapping[str, Any] | None = None,
    progress: Progress = Silent(),
) -> Dataset:
    """Read the data set `name` below `root`; no image is opened. One that is read is returned.

    progress: told of images being taken out of an archive, the first time.

    Raises:
        BadInput: an unknown name or option, or files that are not as they should be.
    """
    if isinstance(name, Dataset):
        return name
    if options and SETS in options:
        given_again = [(one["name"], one["root"], one["options"]) for one in options[SETS]]
        return _joined(
            [
                open_dataset(one, at, options=kept, progress=progress)
                for one, at, kept in given_again
            ]
        )
    known = entry(name)
    given = {
        key: value
        for key, value in (options or {}).items()
        if value is not None and value is not False
    }
    strange = sorted(set(given) - set(known.options))
    if strange:
        raise BadInput(f"{known.name} has no option --{strange[0].replace('_', '-')}")
    if known.unpacks:
        given["progress"] = progress
    place = Path(root).expanduser()
    if known.name == "folder" and "pattern" not in given:
        _require_own(place)
    try:
        data = known.read(place, **given)
    except BadInput as error:
        found = recognised(place)
        if not found or known in found:
            raise
        if known.name in ("csv", "folder"):
            raise BadInput(f"{error}. It may be {_reader_of(found)}") from error
        raise BadInput(
            f"{place} is not laid out as {known.name}: this looks like {_reader_of(found)}"
        ) from error
    return replace(data, rules=data.rules or known.rules)


def open_datasets(
    names: Sequence[str],
    roots: Sequence[str | Path],
    *,
    options: Mapping[str, Any] | None = None,
    progress: Progress = Silent(),
) -> Dataset:
    """Read one data set, or several as one, in which identities and cameras are kept apart.

    roots:   one for all, or one for each.
    options: of the readers; of several data sets, each is told those that it has.

    Raises:
        BadInput: as `open_dataset`; other numbers of names and roots; an option that none has.
    """
    if len(roots) not in (1, len(names)):
        raise BadInput(
            f"{len(names)} data sets and {len(roots)} times --root; give --root once for all, or "
            "once for each in their order"
        )
    if len(names) == 1:
        return open_dataset(names[0], roots[0], options=options, progress=progress)
    known = [set(entry(name).options) for name in names]
    strange = sorted(set(options or {}) - set().union(*known))
    if strange:
        raise BadInput(f"none of {', '.join(names)} has an option --{strange[0].replace('_', '-')}")
    places = roots if len(roots) == len(names) else [roots[0]] * len(names)
    return _joined(
        [
            open_dataset(
                name,
                place,
                options={key: value for key, value in (options or {}).items() if key in own},
                progress=progress,
            )
            for name, place, own in zip(names, places, known, strict=True)
        ]
    )


def _joined(sets: Sequence[Dataset]) -> Dataset:
    """Return several data sets as one, with what there is to say of each one's files."""
    told = [(*one.notices, *doubts(one)) for one in sets]
    return joined([replace(one, notices=notices) for one, notices in zip(sets, told, strict=True)])


def recognised(root: Path) -> list[Entry]:
    """Return the data sets that a folder, or else one folder in it, looks like."""
    folders = [root, *sorted(root.iterdir())] if root.is_dir() else []
    return next(filter(None, map(_laid_out_in, folders[:50])), [])


def _laid_out_in(folder: Path) -> list[Entry]:
    return [one for one in ENTRIES if one.is_laid_out_in(folder)]


def _reader_of(found: Sequence[Entry]) -> str:
    """Return what a folder is, and which reader to take: two data sets may share a layout."""
    titles, names = [one.title for one in found], [one.name for one in found]
    return f"{' or '.join(titles)}; use {' or '.join(names)}"


def _require_own(root: Path) -> None:
    """Raise BadInput where a folder of one's own pictures is laid out as a data set is."""
    found = _laid_out_in(root) if root.is_dir() else []
    if found:
        raise BadInput(
            f"{root}: this looks like {_reader_of(found)}, or say where names hold the identity: "
            "--pattern"
        )


def doubts(dataset: Dataset) -> list[str]:
    """Return sentences on what may be wrong with a data set as it was read."""
    if SETS in dataset.options:
        return []  # each of several has told its own
    return [*unread_files(dataset), *count_differences(dataset), *misreading(dataset)]


def count_differences(dataset: Dataset) -> list[str]:
    """Return a sentence where counts are not the published ones, with what differs.

    Another data set that only shares the layout, as its numbers of people show, is named as such.
    """
    known, found = entry(dataset.name), []
    enlarged = bool(set(dataset.options) - {"variant"})  # which leaves the queries as they are
    for split, published in known.published(dataset.options).items():
        counts = dataset.counts(split)
        if (
            not counts.images
            or counts == completed(published, counts)
            or (enlarged and split != "query")
        ):
            continue
        published = completed(published, counts)
        if not SAME_SET * published.identities <= counts.identities <= published.identities:
            return [
                f"read as another data set in {known.title}'s layout: its numbers are not the "
                f"published ones ({split}: {counts.identities:,} identities, {known.title} has "
                f"{published.identities:,})"
            ]
        found.append(
            f"{split} {counts.images:,} images, {counts.identities:,} identities, {counts.cameras} "
            f"cameras (published: {', '.join(f'{one:,}' for one in published)})"
        )
    if not found:
        return []
    return [f"not the published counts of {known.title}: {'; '.join(found)}. {known.source}"]


def completed(published: SplitCounts, found: SplitCounts) -> SplitCounts:
    """Return published counts; where a number is not published, the one found."""
    pairs = zip(published, found, strict=True)
    return SplitCounts(*(one if known == ANY else known for known, one in pairs))


def unread_files(dataset: Dataset) -> list[str]:
    """Return a sentence where files lie among the images whose endings are not read."""
    if "table" in dataset.options:
        return []  # a table names its images
    splits = [dataset.images(split) for split in dataset.filled_splits()]
    folders = {os.path.commonpath({os.path.dirname(one.name) for one in split}) for split in splits}
    found = sum((unread_endings(dataset.root / one) for one in folders), Counter[str]())
    listed = ", ".join(f"{count:,} {ending}" for ending, count in found.most_common(5))
    return [f"files among the images are not read, for their endings: {listed}"] if found else []


def listing() -> list[dict[str, Any]]:
    """Return the catalogue as JSON-able rows: what `nformer datasets` shows."""
    return [
        {
            name: getattr(known, name)
            for name in ("name", "title", "url", "licence", "state", "rules")
        }
        | {
            "counts": {
                split: [None if number == ANY else number for number in counts]
                for split, counts in known.counts.items()
            },
            "source": known.source,
        }
        for known in ENTRIES
    ]
