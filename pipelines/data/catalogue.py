"""The data sets that have a reader: what each is, where to get it, and its published counts."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..embeddings import SPLITS
from ..errors import BadInput
from ..progress import Progress, Silent
from .cuhk03 import read_cuhk03_detected, read_cuhk03_labelled
from .folder_and_csv import read_csv_again, read_folder
from .folders import child, unread_endings
from .listed import LAYOUTS, reader
from .market1501 import read_dukemtmcreid, read_market1501, read_occluded_duke, read_veri776
from .msmt17 import read_msmt17
from .samples import Dataset, SplitCounts
from .synthetic.dataset import read_synthetic
from .tables import plain
from .wildlife import read_wildlife

ANY = -1  # cameras of which no number is published
SAME_SET = 0.9  # share of the published identities: with fewer it is another data set


@dataclass(frozen=True)
class Entry:
    """One data set of the catalogue. `read` takes the root and the entry's own options."""

    name: str
    title: str
    read: Callable[..., Dataset]
    url: str = ""
    licence: str = ""
    state: str = ""
    counts: Mapping[str, SplitCounts] = field(default_factory=dict)
    source: str = ""  # where the counts are published
    options: tuple[str, ...] = ()
    rules: str = "market1501"  # whom its users compare with whom: a name of ranking's rules
    marks: tuple[str, ...] = ()  # entries of a folder by which the layout is known
    unpacks: bool = False  # reading may take images out of an archive, which takes a while


def _counts(*splits: tuple[int, int, int]) -> dict[str, SplitCounts]:
    return {name: SplitCounts(*counts) for name, counts in zip(SPLITS, splits, strict=True)}


CUHK03 = Entry(
    name="cuhk03-labelled",
    title="CUHK03 (labelled boxes)",
    read=read_cuhk03_labelled,
    url="https://www.ee.cuhk.edu.hk/~xgwang/CUHK_identification.html",
    licence="research use, by request to its authors",
    state="by request; protocol: github.com/zhunzhong07/person-re-ranking",
    counts=_counts((7368, 767, 2), (1400, 700, 2), (5328, 700, 2)),
    source="Zhong et al., CVPR 2017; CUHK03-NP/README.md of its repository",
    unpacks=True,
)
ENTRIES = (
    Entry(
        name="market1501",
        title="Market-1501",
        read=read_market1501,
        url="https://zheng-lab-anu.github.io/Project/project_reid.html",
        licence="research only, no redistribution, no commercial use (its readme.txt)",
        state="available",
        counts=_counts((12936, 751, 6), (3368, 750, 6), (15913, 750, 6)),
        source="Zheng et al., ICCV 2015; without junk, as in torchreid's market1501.py",
        options=("distractors",),
        marks=("bounding_box_train", "query", "bounding_box_test"),
    ),
    Entry(
        name="dukemtmcreid",
        title="DukeMTMC-reID",
        read=read_dukemtmcreid,
        licence="CC BY-NC-SA 4.0 (DukeMTMC)",
        state="withdrawn by its authors in 2019",
        counts=_counts((16522, 702, 8), (2228, 702, 8), (17661, 1110, 8)),
        source="Zheng et al., ICCV 2017, and its README: 702 identities and 408 distractors",
    ),
    Entry(
        name="msmt17",
        title="MSMT17",
        read=read_msmt17,
        url="https://www.pkuvmc.com/dataset.html",
        licence="research use, by request to its authors",
        state="by request",
        counts=_counts((30248, 1041, 15), (11659, 3060, 15), (82161, 3060, 15)),
        source="Wei et al., CVPR 2018; the lines of its lists, train without list_val's 2,373",
        options=("combine_all",),
        marks=("list_train.txt", "list_query.txt", "list_gallery.txt"),
    ),
    CUHK03,
    replace(
        CUHK03,
        name="cuhk03-detected",
        title="CUHK03 (detected boxes)",
        read=read_cuhk03_detected,
        counts=_counts((7365, 767, 2), (1400, 700, 2), (5332, 700, 2)),
    ),
    Entry(
        name="occluded-duke",
        title="Occluded-Duke",
        read=read_occluded_duke,
        url="https://github.com/lightas/Occluded-DukeMTMC-Dataset",
        licence="CC BY-NC-SA 4.0 (DukeMTMC)",
        state="a list of files for DukeMTMC-reID, which was withdrawn",
        counts=_counts((15618, 702, 8), (2210, 519, 8), (17661, 1110, 8)),
        source="Miao et al., ICCV 2019",
    ),
    Entry(
        name="veri776",
        title="VeRi-776",
        read=read_veri776,
        url="https://vehiclereid.github.io/VeRi/",
        licence="research use, by request to its authors",
        state="by request",
        counts=_counts((37778, 576, 20), (1678, 200, ANY), (11579, 200, ANY)),
        source="Liu et al., ECCV 2016; fast-reid's veri.py",
        marks=("image_train", "image_query", "image_test"),
    ),
    Entry(
        name="vehicleid",
        title="VehicleID (PKU)",
        read=reader("vehicleid"),
        url="https://pkuml.org/resources/pku-vehicleid.html",
        licence="research use, by request to its authors",
        state="by request; --variant 800 (small), 1600 or 2400",
        counts=_counts((113346, 13164, 0), (6493, 800, 0), (6493, 800, 0)),
        source="Liu et al., CVPR 2016; lists as counted in fast-reid's vehicleid.py",
        options=("variant",),
        rules="vehicleid",
        marks=LAYOUTS["vehicleid"].needs,
    ),
    Entry(
        name="veriwild",
        title="VERI-Wild",
        read=reader("veriwild"),
        url="https://github.com/PKU-IMRE/VERI-Wild",
        licence="research use, by request to its authors",
        state="by request; --variant 3000 (small), 5000 or 10000",
        counts=_counts((277797, 30671, ANY), (3000, 3000, ANY), (38861, 3000, ANY)),
        source="Lou et al., CVPR 2019; fast-reid's veriwild.py",
        options=("variant",),
        marks=LAYOUTS["veriwild"].needs,
    ),
    Entry(
        name="sop",
        title="Stanford Online Products",
        read=reader("sop"),
        url="https://cvgl.stanford.edu/projects/lifted_struct/",
        licence="research use",
        state="available",
        counts=_counts((59551, 11318, 0), (60502, 11316, 0), (60502, 11316, 0)),
        source="Oh Song et al., CVPR 2016",
        rules="retrieval",
        marks=LAYOUTS["sop"].needs,
    ),
    Entry(
        name="cub200",
        title="CUB-200-2011 (birds)",
        read=reader("cub200"),
        url="https://www.vision.caltech.edu/datasets/cub_200_2011/",
        licence="non-commercial research and education",
        state="available",
        counts=_counts((5864, 100, 0), (5924, 100, 0), (5924, 100, 0)),
        source="Wah et al., 2011; split by classes as in Oh Song et al., CVPR 2016",
        rules="cub200",
        marks=LAYOUTS["cub200"].needs,
    ),
    Entry(
        name="inshop",
        title="In-shop Clothes Retrieval (DeepFashion)",
        read=reader("inshop"),
        url="https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html",
        licence="non-commercial research, by request",
        state="by request",
        counts=_counts((25882, 3997, 0), (14218, 3985, 0), (12612, 3985, 0)),
        source="Liu et al., CVPR 2016",
        rules="inshop",
        marks=LAYOUTS["inshop"].needs,
    ),
    Entry(
        name="cars196",
        title="Cars-196",
        read=reader("cars196"),
        licence="non-commercial research",
        state="its authors' page is gone; copies are kept by others",
        counts=_counts((8054, 98, 0), (8131, 98, 0), (8131, 98, 0)),
        source="Krause et al., 2013; split by classes as in Oh Song et al., CVPR 2016",
        rules="cub200",
        marks=LAYOUTS["cars196"].needs,
    ),
    Entry(
        name="wildlife",
        title="Animals: a folder with a metadata.csv (WildlifeDatasets, AnimalCLEF)",
        read=read_wildlife,
        url="https://github.com/WildlifeDatasets/wildlife-datasets",
        licence="of each set",
        state="available; --variant given, closed, open, disjoint or time",
        options=("variant",),
        rules="wildlife",
        marks=("metadata.csv",),
    ),
    Entry(
        name="folder",
        title="Your images: a folder an identity, in train, query, gallery or not",
        read=read_folder,
        licence="yours",
        state="yours",
        options=("camera_pattern", "pattern", "split", "queries"),
    ),
    Entry(
        name="csv",
        title="Your images: a table of path, pid and, where known, split and camid",
        read=read_csv_again,
        licence="yours",
        state="yours",
        options=("table", "images", "columns", "pattern", "split", "queries"),
    ),
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
        near = get_close_matches(wanted, known, n=1)
        meant = f"did you mean {near[0]}? Known" if near else "known"
        raise BadInput(
            f"{name!r} is no data set known here; {meant} are {', '.join(known)} (folder and csv: "
            "your own pictures)"
        )
    return known[wanted]


def rules_of(name: str) -> str:
    """Return the name of the rules that a data set's users evaluate by; of others, the first."""
    known = next((one for one in ENTRIES if one.name == name), None)
    return Entry.rules if known is None else known.rules


def title_of(facts: Mapping[str, Any]) -> str:
    """Return a data set's name as people write it, from the facts kept with an artifact.

    One that only shares the layout of a published set is called by its folder.
    """
    name = str(facts.get("dataset") or "")
    known = next((one for one in ENTRIES if one.name == name), None)
    if known is None:
        return name
    title, folder = known.title.partition(":")[0], Path(str(facts.get("root") or "")).name
    images = facts.get("images") or {}
    unlike = any(
        images.get(split, counts.images) < SAME_SET * counts.images
        for split, counts in known.counts.items()
    )
    if unlike and folder:
        return f"{folder} ({title}'s layout)"
    own = "yours" in known.state  # of which there are many, told apart by their folders
    return f"{title}, {folder}" if own and folder else title


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
    try:
        data = known.read(place, **given)
    except BadInput as error:
        other = recognised(place)
        if other is None or other.name == known.name or known.name in ("csv", "folder"):
            raise
        raise BadInput(
            f"{place} is not laid out as {known.name}: this looks like {other.title}; use "
            f"{other.name}"
        ) from error
    return replace(data, rules=data.rules or known.rules)


def recognised(root: Path) -> Entry | None:
    """Return the data set that a folder, or one folder in it, looks like; None: like none."""
    folders = [root, *sorted(root.iterdir())] if root.is_dir() else []
    for folder in folders[:50]:
        for one in ENTRIES:
            if one.marks and all(child(folder, mark) is not None for mark in one.marks):
                return one
    return None


def count_differences(dataset: Dataset) -> list[str]:
    """Return a sentence where counts are not the published ones, with what differs.

    Another data set that only shares the layout, as its numbers of people show, is named as such.
    """
    known, found = entry(dataset.name), []
    for split in SPLITS:
        published, counts = known.counts.get(split), dataset.counts(split)
        if (
            published is None
            or not counts.images
            or counts == published._replace(cameras=cameras_of(published, counts))
            or (dataset.options and split != "query")
        ):
            continue
        if not SAME_SET * published.identities <= counts.identities <= published.identities:
            return [
                f"read as another data set in {known.title}'s layout: its numbers are not the "
                f"published ones ({split}: {counts.identities:,} identities, {known.title} has "
                f"{published.identities:,})"
            ]
        cameras = cameras_of(published, counts)
        found.append(
            f"{split} {counts.images:,} images, {counts.identities:,} identities, {counts.cameras} "
            f"cameras (published: {published.images:,}, {published.identities:,}, {cameras})"
        )
    if not found:
        return []
    return [f"not the published counts of {known.title}: {'; '.join(found)}. {known.source}"]


def cameras_of(published: SplitCounts, found: SplitCounts) -> int:
    """Return the published number of cameras; where none is, the number found."""
    return found.cameras if published.cameras == ANY else published.cameras


def unread_files(dataset: Dataset) -> list[str]:
    """Return a sentence where files lie among the images whose endings are not read."""
    if "table" in dataset.options:
        return []  # which names its images
    splits = [dataset.split(split) for split in dataset.filled_splits()]
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
            "counts": {split: list(counts) for split, counts in known.counts.items()},
            "source": known.source,
        }
        for known in ENTRIES
    ]
