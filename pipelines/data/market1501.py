"""Market-1501 (Zheng et al., ICCV 2015), DukeMTMC-reID, and every set laid out like them."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import BadInput
from .entry import Entry, counts, names_in
from .folders import child, find_home, first_child, image_names, shortened
from .name_patterns import usual_pattern
from .samples import NO_CAMERA, Dataset, Sample

NAMES = ("Market-1501-v15.09.15", "market1501", "market-1501", "market")
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
PATTERN = re.compile(r"(-?\d{1,9})_c(\d{1,3})(?!\d)")
EXTRA = ("images", "distractors_500k", "distractors")  # where the 500k distractors lie
DISTRACTOR = 0  # parts of people and background, in the gallery
EXAMPLE = "0002_c1s1_000451_03.jpg"
DUKE_NAMES = ("DukeMTMC-reID", "dukemtmcreid", "dukemtmc-reid", "dukemtmc", "duke")
DUKE_EXAMPLE = "0001_c2_f0046182.jpg"
VERI_NAMES = ("VeRi", "VeRi-776", "veri776", "veri_776")
VERI_FOLDERS = {"train": "image_train", "query": "image_query", "gallery": "image_test"}
VERI_EXAMPLE = "0002_c002_00030600_0.jpg"
OCCLUDED_NAMES = ("Occluded_Duke", "occluded-duke", "Occluded-DukeMTMC")
DUKE_WITHDRAWN = (
    "DukeMTMC was withdrawn by its authors in June 2019: the people in it had not consented. It is "
    "read here so that published numbers can be checked; many venues do not accept new results on "
    "it, so say why you use it, or use another data set"
)


def read_market1501(root: Path, *, distractors: str | None = None) -> Dataset:
    """Read Market-1501 from its folder or the folder that it lies in.

    Camera ids are the numbers in the names (c1 is 1). Junk, pid -1, is left out; distractors,
    pid 0, stay in the gallery. distractors="500k" adds those of Market-1501+500k.

    Raises:
        BadInput: another layout, an empty folder, or a name that does not parse.
    """
    dataset = replace(_read("market1501", root, names=NAMES), distractor=DISTRACTOR)
    if distractors is None:
        return dataset
    if distractors != "500k":
        raise BadInput(f"--distractors {distractors}: Market-1501 has 500k")
    gallery = sorted([*dataset.splits["gallery"], *read_distractors(dataset.root)])
    splits = {**dataset.splits, "gallery": gallery}
    return replace(dataset, splits=splits, options={"distractors": distractors})


def read_dukemtmcreid(root: Path) -> Dataset:
    """Read DukeMTMC-reID (Zheng et al., ICCV 2017; Ristani et al., ECCV workshops 2016).

    root: its folder or the folder that it lies in. Cameras are 1 to 8.
    """
    dataset = _read("dukemtmcreid", root, names=DUKE_NAMES, example=DUKE_EXAMPLE)
    return replace(dataset, notices=(DUKE_WITHDRAWN,))


def read_veri776(root: Path) -> Dataset:
    """Read VeRi-776 (Liu et al., ICME and ECCV 2016); cameras are 1 to 20.

    Its protocol skips the query's vehicle in its own camera, as Market-1501's does.
    """
    layouts = [tuple(VERI_FOLDERS.values())]
    home, _ = find_home(root, names=VERI_NAMES, layouts=layouts, dataset="veri776")
    return read_layout("veri776", home, folders=VERI_FOLDERS, example=VERI_EXAMPLE)


def read_occluded_duke(root: Path) -> Dataset:
    """Read Occluded-Duke (Miao et al., ICCV 2019), images of DukeMTMC-reID laid out as it is."""
    dataset = _read("occluded-duke", root, names=OCCLUDED_NAMES, example=DUKE_EXAMPLE)
    return replace(dataset, notices=(DUKE_WITHDRAWN,))


def _read(dataset: str, root: Path, *, names: Sequence[str], example: str = EXAMPLE) -> Dataset:
    home, _ = find_home(root, names=names, layouts=[tuple(FOLDERS.values())], dataset=dataset)
    return read_layout(dataset, home, folders=FOLDERS, example=example)


def read_distractors(home: Path) -> list[Sample]:
    """Return the images of Market-1501+500k: nobody that a query asks for, whatever their names."""
    folder = first_child(home, EXTRA)
    names = image_names(folder, deep=True) if folder is not None else []
    if folder is None or not names:
        raise BadInput(
            f"--distractors 500k: {home} has no folder {' or '.join(EXTRA)} with images: unpack "
            "the archive of the 500k distractors there"
        )
    prefix = folder.relative_to(home).as_posix()
    cameras = (PATTERN.match(name.rpartition("/")[2]) for name in names)
    return [
        Sample(f"{prefix}/{name}", DISTRACTOR, int(match[2]) if match else NO_CAMERA)
        for name, match in zip(names, cameras, strict=True)
    ]


def read_layout(dataset: str, home: Path, *, folders: dict[str, str], example: str) -> Dataset:
    """Read splits that are flat folders of images whose names tell the person and the camera."""
    splits: dict[str, list[Sample]] = {}
    junk = 0
    for split, name in folders.items():
        folder = child(home, name)
        assert folder is not None  # find_home has seen it
        names = image_names(folder)
        if not names:
            raise BadInput(f"{folder} holds no images; a file there is named like {example}")
        samples = parse_names(names, PATTERN, example=example, folder=folder)
        junk += sum(sample.pid < 0 for sample in samples)
        prefix = folder.relative_to(home).as_posix()
        splits[split] = [
            sample._replace(name=f"{prefix}/{sample.name}") for sample in samples if sample.pid >= 0
        ]
    return Dataset(dataset, home, splits, junk=junk)


def parse_names(
    names: Sequence[str], pattern: re.Pattern[str], *, example: str, folder: Path
) -> list[Sample]:
    """Return samples from file names of which `pattern` captures the person and the camera.

    Raises:
        BadInput: names that it does not match, with a few of them.
    """
    matches = [pattern.match(name) for name in names]
    strange = [name for name, match in zip(names, matches, strict=True) if match is None]
    if strange:
        begins = re.match(r"-?\d", strange[0])
        reason = (
            "no camera (_c1) follows the person's number"
            if begins
            else "it does not begin with a person's number"
        )
        usual = usual_pattern(names)
        raise BadInput(
            f"{folder}: {len(strange)} of {len(names)} names do not parse: "
            f"{shortened(strange, 3)} ({reason}); wanted names like {example} (person, camera). "
            + (
                f"The reader folder reads them, with --pattern '{usual}'"
                if usual
                else "Move other images elsewhere"
            )
        )
    return [
        Sample(name, int(match[1]), int(match[2]))
        for name, match in zip(names, matches, strict=True)
        if match is not None
    ]


DUKE = Entry(
    name="dukemtmcreid",
    title="DukeMTMC-reID",
    read=read_dukemtmcreid,
    licence="CC BY-NC-SA 4.0 (DukeMTMC)",
    state="withdrawn by its authors in 2019",
    counts=counts((16522, 702, 8), (2228, 702, 8), (17661, 1110, 8)),
    source="Zheng et al., ICCV 2017, and its README: 702 identities and 408 distractors",
    marks=((FOLDERS["train"],),),
    looks=names_in("bounding_box_train", r"\d+_c\d_f\d"),
)
ENTRIES = (
    Entry(
        name="market1501",
        title="Market-1501",
        read=read_market1501,
        url="https://zheng-lab-anu.github.io/Project/project_reid.html",
        licence="research only, no redistribution, no commercial use (its readme.txt)",
        state="available",
        counts=counts((12936, 751, 6), (3368, 750, 6), (15913, 750, 6)),
        source="Zheng et al., ICCV 2015; without junk, as in torchreid's market1501.py",
        options=("distractors",),
        marks=((FOLDERS["train"],),),
        looks=names_in("bounding_box_train", r"-?\d+_c\d+s\d"),
    ),
    DUKE,
)
