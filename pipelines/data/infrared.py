"""Persons by day and in the dark: SYSU-MM01 and RegDB, visible and infrared."""

import re
from pathlib import Path

from ..errors import BadInput
from .entry import ANY, counts
from .folders import child, image_names
from .layouts import Found, Layout, Splits, below, laid_out, lines_of, whole
from .samples import Sample

VISIBLE, INFRARED = (1, 2, 4, 5), (3, 6)  # SYSU-MM01's cameras
SYSU_IDS = {"train": ("train_id.txt", "val_id.txt"), "test": ("test_id.txt",)}
SPLITS_OF_REGDB = range(1, 11)
TURNED = "thermal-"  # queries are the thermal images


def _sysu(home: Path, _: str) -> Found:
    """SYSU-MM01 (Wu et al., ICCV 2017): camN/person/image, and lists of persons in exp.

    Training takes the validation's persons too, as Ye et al. do. Infrared images of the test are
    queries, all visible ones the gallery, which the rules draw from.
    """
    train, test = (
        [one for name in names for one in _persons(home / "exp" / name)]
        for names in SYSU_IDS.values()
    )
    splits: Splits = {
        "train": _of_cameras(home, (*VISIBLE, *INFRARED), persons=train),
        "query": _of_cameras(home, INFRARED, persons=test),
        "gallery": _of_cameras(home, VISIBLE, persons=test),
    }
    empty = [split for split, samples in splits.items() if not samples]
    if empty:
        raise BadInput(f"{home}: no images of the persons of {empty[0]}; one is cam1/0001/0001.jpg")
    return Found(splits)


def _persons(path: Path) -> list[int]:
    """Return the numbers of a list: one line, separated by commas."""
    text = " ".join(line for _, (line,) in lines_of(path, fields=1))
    numbers = [one.strip() for one in text.split(",") if one.strip()]
    strange = [one for one in numbers if not re.fullmatch(r"\d{1,9}", one)]
    if strange:
        raise BadInput(f"{path}: {strange[0][:60]!r} is no person's number; wanted 1,2,7")
    return sorted(map(int, numbers))


def _of_cameras(home: Path, cameras: tuple[int, ...], *, persons: list[int]) -> list[Sample]:
    found = []
    for camera in cameras:
        for person in persons:
            place = f"cam{camera}/{person:04d}"  # not every person was seen by every camera
            folder = child(home, place)
            names = image_names(folder) if folder is not None else []
            prefix = folder.relative_to(home).as_posix() if folder is not None else ""
            found += [Sample(f"{prefix}/{name}", person, camera) for name in names]
    return found


def _regdb(home: Path, variant: str) -> Found:
    """RegDB (Nguyen et al., Sensors 2017): lists of image and person in idx, ten splits.

    Visible images are of camera 1, thermal ones of camera 2. Every split numbers the persons of the
    training and those of the test from 0.
    """
    number = variant.removeprefix(TURNED)
    seen: dict[str, list[Sample]] = {}
    for camera, kind in enumerate(("visible", "thermal"), 1):
        for part in ("train", "test"):
            listed = lines_of(home / f"idx/{part}_{kind}_{number}.txt", fields=2)
            seen[f"{part} {kind}"] = [
                Sample(below(name, where), whole(person, where), camera)
                for where, (name, person) in listed
            ]
    asked, there = "visible", "thermal"
    if variant.startswith(TURNED):
        asked, there = there, asked
    splits = {
        "train": seen["train visible"] + seen["train thermal"],
        "query": seen[f"test {asked}"],
        "gallery": seen[f"test {there}"],
    }
    return Found(splits, more={"train_apart": True})


ENTRIES = (
    laid_out(
        Layout(("SYSU-MM01", "ori_data", "sysu"), ("cam1", "cam3", "exp/test_id.txt"), _sysu),
        name="sysu-mm01",
        title="SYSU-MM01",
        url="https://www.isee-ai.cn/project/RGBIRReID.html",
        licence="research use, by request to its authors",
        state="by request; indoor and multi-shot: --rules sysu-mm01-indoor, -multi, -indoor-multi",
        counts=counts((34167, 395, 6), (3803, 96, 2), (ANY, 96, 4)),
        source="Wu et al., ICCV 2017; README.md of github.com/wuancong/SYSU-MM01; training and "
        "validation images, 22258 visible and 11909 infrared: README.md of github.com/bismex/HiCMD"
        "; queries as public test logs count them",
        rules="sysu-mm01",
    ),
    laid_out(
        Layout(
            ("RegDB",),
            ("idx/train_visible_1.txt", "idx/test_thermal_1.txt"),
            _regdb,
            tuple(f"{turned}{number}" for turned in ("", TURNED) for number in SPLITS_OF_REGDB),
        ),
        name="regdb",
        title="RegDB",
        url="http://dm.dongguk.edu/link.html",
        licence="research use, by request to its authors",
        state="by request; --variant 1 to 10, and thermal-1 to thermal-10 with thermal queries",
        counts=counts((4120, 206, 2), (2060, 206, 1), (2060, 206, 1)),
        source="Nguyen et al., Sensors 2017: ten visible and ten thermal images of 412 persons; "
        "halves as in the code of Ye et al., github.com/mangye16/Cross-Modal-Re-ID-baseline",
    ),
)
