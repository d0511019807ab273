"""a data set's files -> what was found, what differs from the published counts, what is wrong"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..data.batches import default_workers
from ..data.boxes import parts_of
from ..data.catalogue import completed, doubts, entry, open_dataset
from ..data.images import GUESS, UnreadableImage, read_part
from ..data.samples import Dataset, Sample, file_size
from ..embeddings import SPLITS
from ..files import file_digest
from ..progress import Progress, Silent
from ..ranking.rules import MARKET1501, RULES

SHOWN = 20  # names in a finding; the rest is counted


@dataclass(frozen=True)
class Finding:
    """Something that a check found; `names` are of images.

    level: "error", "warning", or "note" of how the files were understood.
    """

    level: str
    what: str
    names: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True)
class DataReport:
    """What `check_data` found; `splits` maps to images, identities, cameras and the published.

    place: the folder, or the table, that the data set was read from.
    unit: what `images` counts: images, or tracklets.
    """

    dataset: str
    root: str
    place: str
    splits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    junk: int = 0
    cameras_known: bool = False
    unit: str = "images"
    findings: tuple[Finding, ...] = ()

    @property
    def errors(self) -> list[Finding]:
        """The findings that must be mended."""
        return [finding for finding in self.findings if finding.level == "error"]

    def as_table(self) -> dict[str, Any]:
        """Return the report as a JSON-able table."""
        return {**asdict(self), "ok": not self.errors}


def check_data(
    dataset: str,
    *,
    root: str | Path,
    options: Mapping[str, Any] | None = None,
    progress: Progress = Silent(),
) -> DataReport:
    """Read a data set, decode every image, and report.

    Raises:
        BadInput: an unknown name of a data set, or nothing that could be read as one.
    """
    name = entry(dataset).name
    data = open_dataset(name, root, options=options, progress=progress)
    findings = [
        *(Finding("note", text) for text in data.notices),
        *(Finding("warning", text) for text in doubts(data)),
        *_missing_splits(data),
        *_unreadable(data, progress),
        *_same_content(data, progress),
        *_same_people(data),
        *_without_match(data),
    ]
    return DataReport(
        name,
        str(data.root),
        str(data.place),
        splits={split: _counts(data, split) for split in data.filled_splits()},
        junk=data.junk,
        cameras_known=data.has_cameras,
        unit="tracklets" if data.tracks else "images",
        findings=tuple(findings),
    )


def _counts(data: Dataset, split: str) -> dict[str, Any]:
    published = entry(data.name).published(data.options).get(split)
    found = data.counts(split)._asdict()
    if published:
        published = completed(published, data.counts(split))
    return {**found, "published": published._asdict() if published else None}


def _missing_splits(data: Dataset) -> Iterator[Finding]:
    missing = [split for split in SPLITS if not data.splits.get(split)]
    if missing:
        yield Finding("warning", f"no {' and no '.join(missing)} images")
    rules = RULES.get(data.rules or entry(data.name).rules, MARKET1501)
    if not data.has_cameras and any("camid" in skip.same for skip in rules.skips):
        yield Finding("warning", "no camera is known: matches from the same camera count as well")


def _unreadable(data: Dataset, progress: Progress) -> Iterator[Finding]:
    """Decode every image; yield the unreadable, and those of guessed values, by the reason."""

    def look(sample: Sample) -> tuple[str, str]:
        try:
            guess = read_part(data.root, sample.name).info.get(GUESS, "")
        except UnreadableImage as error:
            return "error", f"cannot be read: {error.reason}"
        return "warning", f"the values are {guess}" if guess else ""

    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    listed = [sample for split in data.filled_splits() for sample in data.images(split)]
    samples = list({sample.name: sample for sample in listed}.values())
    with (
        ThreadPoolExecutor(default_workers()) as pool,
        progress.task("decode", len(samples), unit="images") as task,
    ):
        for sample, finding in zip(samples, pool.map(look, samples), strict=True):
            found[finding].append(sample.name)
            task.advance()
    for (level, what), names in sorted(found.items()):
        if what:
            yield _finding(level, what, names=names)


def _same_content(data: Dataset, progress: Progress) -> Iterator[Finding]:
    """Find files of the same bytes; only files of the same size are read again."""
    by_size: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for split in data.filled_splits():
        for sample in data.images(split) if data.same_as(split) == split else ():
            by_size[file_size(data.root / parts_of(sample.name)[0])].append((split, sample.name))
    suspects = [
        pair for size, pairs in by_size.items() if size > 0 and len(pairs) > 1 for pair in pairs
    ]
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    with progress.task("compare", len(suspects), unit="files") as task:
        for split, name in suspects:
            with suppress(OSError):  # reported as unreadable; equal to no other
                file, _ = parts_of(name)
                part = name.removeprefix(file)  # its box and its mask
                groups[f"{file_digest(data.root / file)} {part}"].append((split, name))
            task.advance()
    across = "the same content in train and in test"
    asked = "a query's picture in the gallery too: it finds itself, unless its camera is skipped"
    within = "the same content twice"
    found: dict[str, list[str]] = {across: [], asked: [], within: []}
    for pairs in groups.values():
        splits = {split for split, _ in pairs}
        if data.tracks and len({name for _, name in pairs}) == 1:
            continue  # a query's tracklet stands in the gallery too, as is meant
        what = asked if splits == {"query", "gallery"} else within
        what = across if "train" in splits and len(splits) > 1 else what
        if len(pairs) > 1:
            found[what].append(" = ".join(name for _, name in pairs))
    for what, names in found.items():
        if names:
            level = "error" if what == across else "warning"
            yield _finding(level, what, names=sorted(names))


def _same_people(data: Dataset) -> Iterator[Finding]:
    people = {
        split: {sample.pid for sample in data.splits.get(split, ())} - {data.distractor}
        for split in SPLITS
    }
    both = sorted(people["train"] & (people["query"] | people["gallery"]))
    if both and not data.train_apart and not data.same_people:
        yield _finding("error", "identities in train and in test", names=[str(pid) for pid in both])


def _without_match(data: Dataset) -> Iterator[Finding]:
    """Find identities seen by one camera only, and queries that the gallery cannot answer."""
    cameras: dict[tuple[bool, int], set[int]] = defaultdict(set)
    for split in SPLITS:
        for sample in data.splits.get(split, ()):
            cameras[split == "train", sample.pid].add(sample.camid)
    for training, where in ((True, "train"), (False, "test")):
        alone = [
            str(pid)
            for (trained, pid), seen in sorted(cameras.items())
            if trained == training and len(seen) == 1 and pid != data.distractor
        ]
        if alone and data.has_cameras:
            yield _finding("warning", f"identities of one camera only, in {where}", names=alone)
    answers: dict[int, set[int]] = defaultdict(set)
    for sample in data.splits.get("gallery", ()):
        answers[sample.pid].add(sample.camid)
    lost = [
        sample.name
        for sample in data.splits.get("query", ())
        if not (answers[sample.pid] - {sample.camid} if data.has_cameras else answers[sample.pid])
    ]
    if lost:
        yield _finding("warning", "queries without a match in the gallery", names=lost)


def _finding(level: str, what: str, *, names: Sequence[str]) -> Finding:
    return Finding(level, what, tuple(names[:SHOWN]), len(names))
