"""MSMT17 (Wei et al., CVPR 2018): both versions' folders, labels in list_*.txt."""

import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import BadInput
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
    home, train, test = _find(root)
    samples = {name: list(_read_list(home, name, train=train, test=test)) for name in LISTS}
    splits = {
        "train": sorted(samples["train"] + (samples["val"] if combine_all else [])),
        "query": sorted(samples["query"]),
        "gallery": sorted(samples["gallery"]),
    }
    options = {"combine_all": True} if combine_all else {}
    return Dataset("msmt17", home, splits, options=options, train_apart=True)


def _find(root: Path) -> tuple[Path, Path, Path]:
    problems = []
    for needs in VERSIONS:
        try:
            home = find_home(root, names=NAMES, needs=needs, dataset="msmt17")
        except BadInput as error:
            problems.append(error)
            continue
        train, test = (child(home, need) for need in needs)
        assert train is not None and test is not None
        return home, train, test
    raise problems[0]


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
