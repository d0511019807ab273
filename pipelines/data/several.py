"""Several data sets as one: to train one backbone on all of them, identities kept apart."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..embeddings import SPLITS
from ..errors import BadInput
from ..labels import LabelNames
from .samples import NO_CAMERA, Dataset, Sample

SETS = "sets"  # the option that says which, to read them again
NOBODY = 0  # the identity of all distractors; no person has this number


def joined(sets: Sequence[Dataset]) -> Dataset:
    """Return data sets as one, in which no two of them share an identity or a camera.

    Each split is that of all sets together; a person or camera is called by set and name. Names of
    samples start from the folder that all roots lie in.

    Raises:
        BadInput: a data set is given twice.
    """
    roots = [data.root.resolve() for data in sets]
    if len({(data.name, root) for data, root in zip(sets, roots, strict=True)}) < len(sets):
        raise BadInput("a data set is given twice; each of several has to be another")
    top = Path(os.path.commonpath(roots))
    people, cameras = Numbers(["distractor"]), Numbers()
    splits: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    columns: dict[str, dict[str, int]] = {}
    tracks: dict[str, Sequence[str]] = {}
    further: dict[str, Numbers] = {}
    for data, root, title in zip(sets, roots, titles(sets), strict=True):
        below = "" if root == top else f"{root.relative_to(top).as_posix()}/"
        for split in data.filled_splits():
            side = split if data.train_apart and split == "train" else ""
            for name, pid, camid in data.split(split):
                person = (
                    NOBODY
                    if pid == data.distractor
                    else people.of((title, side, pid), f"{title}/{data.labels.person(pid)}")
                )
                camera = NO_CAMERA
                if camid >= 0:
                    called = f"{title}/{data.labels.camera(camid)}"
                    camera = cameras.of((title, "", camid), called)
                splits[split].append(Sample(below + name, person, camera))
        for name, values in data.columns.items():
            numbers = further.setdefault(name, Numbers())
            columns.setdefault(name, {}).update(
                {
                    below + sample: numbers.of((title, "", value), "") if value >= 0 else value
                    for sample, value in values.items()
                }
            )
        for sample, frames in data.tracks.items():
            tracks[below + sample] = [below + frame for frame in frames]
    rules = {data.rules for data in sets}
    return Dataset(
        name="+".join(data.name for data in sets),
        root=top,
        splits={split: sorted(samples) for split, samples in splits.items() if samples},
        options={SETS: [described(data) for data in sets]},
        junk=sum(data.junk for data in sets),
        distractor=NOBODY if any(data.distractor is not None for data in sets) else None,
        notices=tuple(
            f"{title}: {notice}"
            for data, title in zip(sets, titles(sets), strict=True)
            for notice in data.notices
        ),
        labels=LabelNames(people.called, cameras.called),
        columns=columns,
        rules=rules.pop() if len(rules) == 1 else "",
        same_people=any(data.same_people for data in sets),
        tracks=tracks,
    )


class Numbers:
    """Numbers for what is met, in the order of meeting, after those called already."""

    def __init__(self, called: Sequence[str] = ()) -> None:
        self.called = [*called]
        self.known: dict[tuple[str, str, int], int] = {}

    def of(self, key: tuple[str, str, int], called: str) -> int:
        """Return the number of a key, a new one where it was not met."""
        if key not in self.known:
            self.known[key] = len(self.called)
            self.called.append(called)
        return self.known[key]


def titles(sets: Sequence[Dataset]) -> list[str]:
    """Return what to call each set: its name, with its folder's where two share one."""
    names = [data.name for data in sets]
    return [
        data.name if names.count(data.name) == 1 else f"{data.name} {data.root.name}"
        for data in sets
    ]


def described(data: Dataset) -> Mapping[str, object]:
    """Return what it takes to read a data set again."""
    root = str(data.root.resolve())
    return {"name": data.name, "root": root, "options": dict(data.options)}
