"""MSMT17 (Wei et al., CVPR 2018): both versions' folders, labels in list_*.txt."""

import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import BadInput
from .entry import Entry, counts
from .folders import child, find_home, first_child, inside, shortened
from .samples import Dataset, Sample

NAMES = ("MSMT17", "MSMT17_V1", "MSMT17_V2", "MSMT17-V1", "MSMT17-V2", "MSMT17_combine")
VERSIONS = (("train", "test"), ("mask_train_v2", "mask_test_v2"))
LISTS = {"train": "list_train", "val": "list_val", "query": "list_query", "gallery": "list_gallery"}
CAMERA = re.compile(r"\d+_\d+_(\d{1,3})_")
EXAMPLE = "0000/0000_000_01_0303morning_0015_0.jpg 0"


def read_msmt17(root: Path, *, combine_all: bool = False) -> Dataset:
    """Read MSMT17 from its folder or the folder that it lies in; cameras are 1 to 15.

    combine_all: train on list_val's images as well (32,621 in all, as many papers do).
    The numbers of the training people and of the test people mean different people.

    Raises:
        BadInput: another layout, a list that is missing, or a line that does not parse.
    """
    home, needs = find_home(root, names=NAMES, layouts=VERSIONS, dataset="msmt17")
    train, test = (child(home, need) or home / need for need in needs)
    samples = {name: list(_read_list(home, name, train=train, test=test)) for name in LISTS}
    splits = {
        "train": sorted(samples["train"] + (samples["val"] if combine_all else [])),
        "query": sorted(samples["query"]),
        "gallery": sorted(samples["gallery"]),
    }
    options = {"combine_all": True} if combine_all else {}
    return Dataset("msmt17", home, splits, options=options, train_apart=True)


def _read_list(home: Path, name: str, *, train: Path, test: Path) -> Iterator[Sample]:
    """Yield the samples of one list: lines of a path below its folder and a person's number."""
    stem = LISTS[name]
    spellings = (f"{stem}.txt", f"{stem}_v2.txt", f"{stem.replace('_', '-')}.txt")
    path = first_child(home, spellings)
    if path is None:
        raise BadInput(f"{home} has no {spellings[0]}: it is part of MSMT17 and holds the labels")
    folder = train if name in ("train", "val") else test
    prefix = folder.relative_to(home).as_posix()
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    strange = []
    for number, line in enumerate(lines, start=1):
        relative, _, label = line.strip().rpartition(" ")
        relative = relative.strip().removeprefix(f"{prefix}/")
        camera = CAMERA.match(relative.rpartition("/")[2])
        if not line.strip():
            continue
        if camera is None or not label.isdecimal() or not inside(relative):
            strange.append(f"line {number}: {line.strip()[:60]}")
            continue
        yield Sample(f"{prefix}/{relative}", int(label), int(camera[1]))
    if strange:
        raise BadInput(
            f"{path}: {len(strange)} of {len(lines)} lines do not parse: {shortened(strange, 3)}; "
            f"wanted lines like {EXAMPLE}"
        )


ENTRIES = (
    Entry(
        name="msmt17",
        title="MSMT17",
        read=read_msmt17,
        url="https://www.pkuvmc.com/dataset.html",
        licence="research use, by request to its authors",
        state="by request",
        counts=counts((30248, 1041, 15), (11659, 3060, 15), (82161, 3060, 15)),
        source="Wei et al., CVPR 2018; the lines of its lists, train without list_val's 2,373",
        options=("combine_all",),
        marks=(("list_train.txt", "list_query.txt", "list_gallery.txt"), ("mask_train_v2",)),
    ),
)
