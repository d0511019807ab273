"""`Dataset`: a data set's images by split, each with its identity and camera."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..embeddings import SPLITS
from ..errors import BadInput
from ..files import text_digest
from ..labels import JUNK, NUMBERS, LabelNames
from .boxes import parts_of

NO_CAMERA = -1


class Sample(NamedTuple):
    """One image: its path below the data set's root, with "/", its person and its camera."""

    name: str
    pid: int
    camid: int = NO_CAMERA


class SplitCounts(NamedTuple):
    """How many images, identities (distractors not among them) and cameras a split has."""

    images: int
    identities: int
    cameras: int


@dataclass(frozen=True)
class Dataset:
    """A data set as it lies on disk; each split's samples are sorted by name.

    name:    as the catalogue knows it.
    root:    the folder that every sample's name is below.
    options: what the reader was told, to read it again in the same way.
    junk:    images left out because their identity is negative.
    distractor: the pid that stands for nobody, where the data set has one.
    train_apart: whether training and test number their people apart, so that equal pids there mean
        different people.
    notices: what a user of these files should know.
    labels: the names of persons and cameras that are no numbers.
    columns: further labels of samples by their names, by a name of `embeddings.COLUMNS`.
    rules: whom its users compare with whom, by name; "": as the catalogue has it.
    same_people: whether training and test show the same persons, as is meant.
    tracks: of samples that are tracklets, the names of their frames, by the sample's name.
    """

    name: str
    root: Path
    splits: Mapping[str, Sequence[Sample]]
    options: Mapping[str, Any] = field(default_factory=dict)
    junk: int = 0
    distractor: int | None = None
    train_apart: bool = False
    notices: tuple[str, ...] = ()
    labels: LabelNames = NUMBERS
    columns: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    rules: str = ""
    same_people: bool = False
    tracks: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def place(self) -> Path:
        """What it was read from: its table, where it has one, or else its folder."""
        return self.root / self.options.get("table", "")

    @property
    def has_cameras(self) -> bool:
        """Whether any sample's camera is known."""
        return any(sample.camid >= 0 for split in self.splits.values() for sample in split)

    def split(self, name: str) -> Sequence[Sample]:
        """Return a split's samples.

        Raises:
            BadInput: there is no such split, or it is empty.
        """
        samples = self.splits.get(name, ())
        if not samples:
            filled = ", ".join(self.filled_splits())
            raise BadInput(f"{self.name} at {self.place} has no {name} images; it has {filled}")
        return samples

    def images(self, split: str) -> Sequence[Sample]:
        """Return a split's images: its samples, and of those that are tracklets all frames."""
        samples = self.split(split)
        if not self.tracks:
            return samples
        return [
            sample._replace(name=name)
            for sample in samples
            for name in self.tracks.get(sample.name, (sample.name,))
        ]

    def filled_splits(self) -> list[str]:
        """Return the names of the splits that hold images, train first."""
        return [name for name in SPLITS if self.splits.get(name)]

    def same_as(self, split: str) -> str:
        """Return the first split with the very samples of one: itself, where no earlier has."""
        samples = self.splits[split]
        return next(one for one in self.filled_splits() if self.splits[one] == samples)

    def counts(self, split: str) -> SplitCounts:
        """Return a split's images, identities and cameras."""
        samples = self.splits.get(split, ())
        pids = {sample.pid for sample in samples} - {self.distractor}
        cameras = {sample.camid for sample in samples if sample.camid >= 0}
        return SplitCounts(len(samples), len(pids), len(cameras))

    def table(self) -> str:
        """Return images, identities and cameras of each split as text, a line each."""
        unit = "tracklets" if self.tracks else "images"
        width = max(12, len(self.name) + 2)
        lines = [f"{self.name:<{width}}{unit:>10}{'identities':>12}{'cameras':>9}"]
        for split in self.filled_splits():
            images, identities, cameras = self.counts(split)
            lines.append(f"{split:<{width}}{images:>10,}{identities:>12,}{cameras:>9,}")
        return "\n".join(lines)

    def digest(self, *splits: str) -> str:
        """Return the SHA-256 of the sorted list of files (name, labels, bytes) of some splits."""
        listing = (
            f"{split}\t{name}\t{pid}\t{camid}\t{file_size(self.root / parts_of(name)[0])}"
            + "".join(f"\t{values.get(name, JUNK)}" for values in self.columns.values())
            for split in splits or SPLITS
            for name, pid, camid in (self.images(split) if self.splits.get(split) else ())
        )
        return text_digest(*listing)


class Labelled(NamedTuple):
    """The labels of samples as arrays, [N] each, further ones by name."""

    names: list[str]
    pids: np.ndarray
    camids: np.ndarray
    columns: dict[str, np.ndarray]


def labelled(samples: Sequence[Sample], columns: Mapping[str, Mapping[str, int]]) -> Labelled:
    """Return the labels of samples of a data set with such columns."""
    return Labelled(
        [sample.name for sample in samples],
        np.array([sample.pid for sample in samples], np.int64),
        np.array([sample.camid for sample in samples], np.int64),
        {
            name: np.array([values.get(sample.name, JUNK) for sample in samples], np.int64)
            for name, values in columns.items()
        },
    )


def file_size(path: Path) -> int:
    """Return a file's bytes; -1 when it is not there, which decoding it will report."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def contiguous_labels(pids: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's class, [N] int64 in 0 … C-1, and the sorted pids [C] the classes mean."""
    known, labels = np.unique(np.asarray(pids, dtype=np.int64), return_inverse=True)
    return labels.astype(np.int64), known
