"""How data sets lie on disk, as data: where their folder is, what it holds, and lists of images."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import BadInput
from .entry import Entry
from .folders import child, find_home, image_names, inside, shortened
from .samples import NO_CAMERA, Dataset, Sample
from .tables import encoding_of
from .tracks import sampled

Splits = dict[str, list[Sample]]


@dataclass(frozen=True)
class Found:
    """What was read: samples by split; without a query, every gallery image is one.

    columns: further labels by the name of COLUMNS and that of the image.
    tracks:  of samples that are tracklets, all frames by the sample's name.
    more:    other fields of the `Dataset`.
    """

    splits: Splits
    columns: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    tracks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """How a data set lies on disk.

    folders:  what its folder may be called.   needs: entries that it has.
    read:     of its folder and the variant, what is there.
    variants: names of its test sets, the first by default.
    tracks:   whether its samples are tracklets.
    """

    folders: tuple[str, ...]
    needs: tuple[str, ...]
    read: Callable[[Path, str], Found]
    variants: tuple[str, ...] = ()
    tracks: bool = False


def laid_out(layout: Layout, *, name: str, **facts: Any) -> Entry:
    """Return the catalogue's entry of a data set with a layout; facts: its other fields."""
    options = (("variant",) if layout.variants else ()) + (("frames",) if layout.tracks else ())
    read = partial(read_laid_out, dataset=name, layout=layout)
    own: dict[str, Any] = {"options": options, "marks": (layout.needs,)}
    return Entry(name=name, read=read, **own | facts)


def read_laid_out(
    root: Path,
    *,
    dataset: str,
    layout: Layout,
    variant: str | None = None,
    frames: str | None = None,
) -> Dataset:
    """Read a data set from its folder or the folder that it lies in.

    variant: one of its test sets; None: the first.
    frames:  which of a tracklet's are read: all; N, evenly spaced; random-N. None: all.

    Raises:
        BadInput: another layout, an unknown variant, or files that do not parse.
    """
    chosen = variant or (layout.variants or ("",))[0]
    if variant is not None and variant not in layout.variants:
        known = ", ".join(layout.variants) or "none"
        raise BadInput(f"--variant {variant}: {dataset} has {known}")
    home, _ = find_home(root, names=layout.folders, layouts=[layout.needs], dataset=dataset)
    found = layout.read(home, chosen)
    splits = {split: sorted(samples) for split, samples in found.splits.items()}
    splits.setdefault("query", splits["gallery"])
    given = {"variant": variant, "frames": frames}
    more = {**found.more, **(sampled(found.tracks, frames) if layout.tracks else {})}
    return Dataset(
        dataset,
        home,
        splits,
        options={name: value for name, value in given.items() if value is not None},
        columns=found.columns,
        **more,
    )


def lines_of(path: Path, *, fields: int, header: int = 0) -> Iterator[tuple[str, list[str]]]:
    """Yield where a line stands and its fields, which spaces separate; the last may have spaces.

    Raises:
        BadInput: no such file, or a line with fewer fields.
    """
    if not path.is_file():
        raise BadInput(f"{path} is not there; it lists the images")
    text = path.read_text(encoding=encoding_of(path), errors="replace")
    listed = False
    for number, line in enumerate(text.splitlines(), 1):
        if number <= header or not line.strip():
            continue
        parts = line.split(maxsplit=fields - 1)
        where = f"{path}, line {number}"
        if len(parts) < fields:
            found = f"{line.strip()[:60]!r} has {len(parts)} fields"
            raise BadInput(f"{where}: {found}; {fields} are wanted")
        listed = True
        yield where, [part.strip() for part in parts]
    if not listed:
        raise BadInput(f"{path} lists no images; it is empty or cut")


def whole(text: str, where: str) -> int:
    """Return the whole number that a text ends in, as id_00000017 does."""
    match = re.search(r"(\d+)$", text)
    if match is None:
        raise BadInput(f"{where}: {text!r} ends in no number")
    return int(match[1])


def below(name: str, where: str) -> str:
    """Return a path of a list; BadInput where it leads out of the data set's folder."""
    if not inside(name):
        raise BadInput(f"{where}: {name!r} leads out of the data set's folder")
    return name.replace("\\", "/")


@dataclass(frozen=True)
class Part:
    """A folder of images whose paths tell who is on them.

    pattern: of a path below the folder, with a group pid and, where paths tell them, camid and
             names of COLUMNS.   example: such a path.
    codes:   what the texts of a group stand for; none: whole numbers.
    labels:  those of all images, which paths do not tell: a camera, say.
    strict:  whether every image must be of the pattern; else the others are passed over.
    """

    split: str
    folder: str
    pattern: str
    example: str
    codes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    strict: bool = True


def read_parts(home: Path, parts: Sequence[Part], *, cameras: Sequence[int] = ()) -> Found:
    """Read folders of images by the names of their files; parts of one split are put together.

    cameras: of the test, where only some are compared.

    Raises:
        BadInput: no such folder, no images in it, or names that do not parse.
    """
    splits: Splits = {}
    columns: dict[str, dict[str, int]] = {}
    for part in parts:
        splits.setdefault(part.split, [])
        for name, labels in _named(home, part):
            sample = Sample(name, labels.pop("pid"), labels.pop("camid", NO_CAMERA))
            if part.split != "train" and cameras and sample.camid not in cameras:
                continue
            splits[part.split].append(sample)
            for column, value in labels.items():
                columns.setdefault(column, {})[name] = value
    return Found(splits, columns)


def _named(home: Path, part: Part) -> Iterator[tuple[str, dict[str, int]]]:
    folder = child(home, part.folder)
    names = image_names(folder, deep=True) if folder is not None and folder.is_dir() else []
    if folder is None or not names:
        raise BadInput(f"{home / part.folder} holds no images; one is named like {part.example}")
    pattern, prefix = re.compile(part.pattern), folder.relative_to(home).as_posix()
    matches = {name: match for name in names if (match := pattern.match(name))}
    strange = [name for name in names if name not in matches]
    if strange and (part.strict or not matches):
        raise BadInput(
            f"{folder}: {len(strange)} of {len(names)} names do not parse: "
            f"{shortened(strange, 3)}; wanted names like {part.example}"
        )
    for name, match in matches.items():
        told = {
            label: part.codes[label][text] if label in part.codes else int(text)
            for label, text in match.groupdict().items()
            if text is not None
        }
        yield f"{prefix}/{name}", {**part.labels, **told}
