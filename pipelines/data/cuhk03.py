"""CUHK03 (Li et al., CVPR 2014), 767/700 protocol (Zhong et al., CVPR 2017)."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from ..errors import BadInput, blaming
from ..files import named_disk_errors, replacing
from ..hdf5 import reading, require_own
from ..probe import require_readable
from ..progress import Progress, Silent
from .entry import Entry, counts
from .folders import child, find_home, first_child, require_folder, shortened
from .market1501 import FOLDERS, read_layout
from .samples import Dataset, Sample

if TYPE_CHECKING:
    import h5py

Boxes = Literal["labelled", "detected"]
NAMES = ("cuhk03", "cuhk03-np", "cuhk03_release", "cuhk03_np", "cuhk-03")
SPELLINGS = {"labelled": ("labeled", "labelled"), "detected": ("detected",)}
ARCHIVE = ("cuhk-03.mat", "cuhk03_release/cuhk-03.mat")
PROTOCOL = "cuhk03_new_protocol_config_{}.mat"
IMAGE = re.compile(r"\d+_\d+_(\d+)_\d+\.png")
EXAMPLE = "0003_c1_21.png"
ROWS = ("train_idx", "query_idx", "gallery_idx")  # of the protocol's file


def read_cuhk03(root: Path, boxes: Boxes, *, progress: Progress = Silent()) -> Dataset:
    """Read CUHK03 in any of its forms; cameras are 1 and 2.

    Known are the protocol's own folders (labeled|detected/bounding_box_train, query,
    bounding_box_test), and cuhk-03.mat or the images_labeled|images_detected taken out of it, with
    cuhk03_new_protocol_config_labeled|detected.mat. The images are taken out of cuhk-03.mat once.

    Raises:
        BadInput: none of these is there, or the files contradict each other.
    """
    found = require_folder(root, "cuhk03")
    spellings = SPELLINGS[boxes]
    of_folders = [tuple(f"{one}/{name}" for name in FOLDERS.values()) for one in spellings]
    layouts = [*of_folders, *((PROTOCOL.format(one),) for one in spellings)]
    if root.resolve().name.lower() in spellings:  # labeled/ or detected/ itself
        layouts.append(tuple(FOLDERS.values()))
    try:
        home, needs = find_home(root, names=NAMES, layouts=layouts, dataset="cuhk03")
    except BadInput:
        raise BadInput(
            f"{root} is not laid out as cuhk03-{boxes}: wanted labeled/ and detected/ with "
            f"bounding_box_train, query and bounding_box_test, or cuhk-03.mat with "
            f"cuhk03_new_protocol_config_{spellings[0]}.mat; found {shortened(found)}"
        ) from None
    if needs in of_folders or needs == tuple(FOLDERS.values()):
        folders = dict(zip(FOLDERS, needs, strict=True))
        return read_layout(f"cuhk03-{boxes}", home, folders=folders, example=EXAMPLE)
    spelling = next(one for one in spellings if needs == (PROTOCOL.format(one),))
    return _read_protocol(home, boxes, spelling=spelling, progress=progress)


read_cuhk03_labelled = partial(read_cuhk03, boxes="labelled")
read_cuhk03_detected = partial(read_cuhk03, boxes="detected")


def _read_protocol(home: Path, boxes: Boxes, *, spelling: str, progress: Progress) -> Dataset:
    config = home / PROTOCOL.format(spelling)
    protocol = read_protocol(child(home, config.name) or config)
    folder = _images(home, spelling, progress=progress)
    prefix = folder.relative_to(home).as_posix()
    splits = {}
    for split in ("train", "query", "gallery"):
        rows = protocol[f"{split}_idx"]
        splits[split] = sorted(
            Sample(f"{prefix}/{name}", int(pid), _camera(name, config))
            for name, pid in zip(protocol["names"][rows], protocol["labels"][rows], strict=True)
        )
    return Dataset(f"cuhk03-{boxes}", home, splits)


def _images(home: Path, spelling: str, *, progress: Progress) -> Path:
    """Return the folder of the images, taken out of the archive when they are not yet."""
    for name in (f"images_{spelling}", "images"):
        folder = child(home, name)
        if folder is not None and folder.is_dir():
            return folder
    archive = first_child(home, ARCHIVE)
    if archive is None:
        raise BadInput(f"{home} has neither images_{spelling} nor cuhk-03.mat to take them from")
    return unpack_archive(archive, spelling, folder=home / f"images_{spelling}", progress=progress)


def read_protocol(path: Path) -> dict[str, Any]:
    """Return the names [N], labels [N] and the 0-based rows of each split of the protocol.

    Raises:
        BadInput: not the protocol's .mat file.
    """
    from scipy.io import loadmat

    require_readable(path, "mat")
    with blaming(path, saying="is not the file of CUHK03's 767/700 protocol"):
        content = loadmat(str(path))
        protocol = {key: content[key].reshape(-1).astype(np.int64) - 1 for key in ROWS}
        protocol["labels"] = content["labels"].reshape(-1).astype(np.int64)
        cells = content["filelist"].reshape(-1)  # each holds an array of one name
        protocol["names"] = np.array([str(np.ravel(cell)[0]) for cell in cells])
    count = len(protocol["names"])
    if any((protocol[key] < 0).any() or (protocol[key] >= count).any() for key in ROWS):
        raise BadInput(f"{path} names rows that it does not have")
    return protocol


def _camera(name: str, config: Path) -> int:
    match = IMAGE.fullmatch(name)
    if match is None:
        raise BadInput(f"{config} names {name!r}; wanted names like 1_001_1_01.png")
    return int(match[1])


def unpack_archive(archive: Path, boxes: str, *, folder: Path, progress: Progress) -> Path:
    """Write the images of cuhk-03.mat, "labeled" or "detected", to `folder`; return it.

    Names are those of the 767/700 protocol, PAIR_PERSON_VIEW_NUMBER.png. The folder appears only
    when it is whole.

    Raises:
        BadInput: not that file, or the folder cannot be written.
    """
    require_readable(archive, "h5")
    with replacing(folder) as unfinished, progress.task("unpack cuhk-03.mat", None) as task:
        unfinished.mkdir()
        with reading(archive) as file:
            for name, pixels in _boxes(archive, file, boxes=boxes):
                with named_disk_errors(folder):
                    Image.fromarray(pixels).save(unfinished / name)
                task.advance()
    return folder


def _boxes(archive: Path, file: "h5py.File", *, boxes: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield names and pixels [H, W, 3] uint8 of every box: pairs × people × up to 10 images."""
    for pair, reference in enumerate(np.asarray(file[boxes]).reshape(-1), start=1):
        people: Any = file[reference][()].T  # [people, 10] references
        for person, row in enumerate(people, start=1):
            for number, image in enumerate(row, start=1):
                require_own(archive, file[image])
                pixels: Any = file[image][()]  # MATLAB's order: [3, W, H]
                if pixels.ndim == 3 and pixels.size:
                    view = 1 if number <= 5 else 2
                    yield f"{pair}_{person:03d}_{view}_{number:02d}.png", pixels.T.astype(np.uint8)


LABELLED = Entry(
    name="cuhk03-labelled",
    title="CUHK03 (labelled boxes)",
    read=read_cuhk03_labelled,
    url="https://www.ee.cuhk.edu.hk/~xgwang/CUHK_identification.html",
    licence="research use, by request to its authors",
    state="by request; protocol: github.com/zhunzhong07/person-re-ranking",
    counts=counts((7368, 767, 2), (1400, 700, 2), (5328, 700, 2)),
    source="Zhong et al., CVPR 2017; CUHK03-NP/README.md of its repository",
    marks=(("labeled/bounding_box_train",), ("images_labeled",)),
    unpacks=True,
)
ENTRIES = (
    LABELLED,
    replace(
        LABELLED,
        name="cuhk03-detected",
        title="CUHK03 (detected boxes)",
        read=read_cuhk03_detected,
        counts=counts((7365, 767, 2), (1400, 700, 2), (5332, 700, 2)),
        marks=(("detected/bounding_box_train",), ("images_detected",)),
    ),
)
