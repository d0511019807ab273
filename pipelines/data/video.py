"""Tracklets, each a list of frames: MARS, iLIDS-VID and PRID2011."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInput, blaming
from ..files import require_file
from ..probe import require_readable
from .entry import ANY, counts
from .folders import child, image_names, inside, scan
from .layouts import Found, Layout, Splits, laid_out, lines_of
from .samples import Sample

OFFICIAL, WITHOUT = "official", "without-queries"
DISTRACTOR = 0  # MARS: parts of people and background, in the gallery
TEN = tuple(str(number) for number in range(1, 11))
Tracks = dict[Sample, list[str]]  # of each tracklet, its frames; it is called by the first


def _found(tracks: Mapping[str, Tracks], **more: Any) -> Found:
    splits: Splits = {split: list(own) for split, own in tracks.items()}
    frames = {one.name: names for own in tracks.values() for one, names in own.items()}
    return Found(splits, tracks=frames, more=more)


def _mars(home: Path, variant: str) -> Found:
    """MARS (Zheng et al., ECCV 2016): lists of frames, and of tracklets as ranges of them.

    The official gallery holds the queries' tracklets too: a query skips its own camera's, but finds
    those of other queries. Without them, as torchreid reads it, is a variant.
    """
    train = _mars_tracks(home, "train", key="track_train_info")
    test = _mars_tracks(home, "test", key="track_test_info")
    path = home / "info/query_IDX.mat"
    asked = {int(number) - 1 for number in _matrix(path, "query_IDX").ravel()}
    if not asked <= set(range(len(test))):
        raise BadInput(f"{path} names tracklets beyond the {len(test)} of the test")
    rest = [one for row, one in enumerate(test) if variant == OFFICIAL or row not in asked]
    tracks = {
        "train": _known(train),
        "query": _known(test[row] for row in sorted(asked)),
        "gallery": _known(rest),
    }
    junk = sum(sample.pid < 0 for sample, _ in (*train, *rest))
    return _found(tracks, distractor=DISTRACTOR, junk=junk)


def _mars_tracks(home: Path, part: str, *, key: str) -> list[tuple[Sample, list[str]]]:
    """Return the tracklets of a part in order: first and last frame, counted from 1, and labels."""
    listed = home / f"info/{part}_name.txt"
    names = [name for _, (name,) in lines_of(listed, fields=1)]
    path = home / f"info/tracks_{part}_info.mat"
    found = []
    for row, (first, last, pid, camera) in enumerate(_matrix(path, key).tolist(), 1):
        own = names[first - 1 : last] if 0 < first <= last else []
        if not own or last > len(names):
            raise BadInput(
                f"{path}, tracklet {row}: frames {first} to {last}; {listed.name} has {len(names)}"
            )
        strange = next((name for name in own if not inside(name)), "")
        if strange:
            raise BadInput(f"{listed}: {strange!r} leads out of the data set's folder")
        frames = [f"bbox_{part}/{name[:4]}/{name}" for name in own]
        found.append((Sample(frames[0], max(pid, -1), camera), frames))
    return found


def _known(tracks: Iterable[tuple[Sample, list[str]]]) -> Tracks:
    return {sample: frames for sample, frames in tracks if sample.pid >= 0}


def _matrix(path: Path, key: str) -> np.ndarray:
    """Return a matrix of whole numbers of a .mat file, [N, M] int64."""
    require_file(path, f"the file of {key}")
    require_readable(path, "mat")
    with blaming(path, saying=f"is no .mat file with {key}"):
        from scipy.io import loadmat

        values: np.ndarray = np.atleast_2d(loadmat(str(path))[key]).astype(np.int64)
        if key != "query_IDX" and values.shape[1] != 4:
            raise BadInput(f"{key} has {values.shape[1]} columns; wanted 4")
    return values


def _ilids(home: Path, variant: str) -> Found:
    """iLIDS-VID (Wang et al., ECCV 2014): a folder a person and camera; ten splits in a .mat."""
    cameras = [home / f"i-LIDS-VID/sequences/cam{camera}" for camera in (1, 2)]
    path = home / "train-test people splits/train_test_splits_ilidsvid.mat"
    orders = _matrix(path, "ls_set")
    people = sorted(one.name for one in scan(cameras[0]) if one.is_dir())
    if len(orders) < len(TEN) or sorted(orders[0].tolist()) != list(range(1, len(people) + 1)):
        raise BadInput(
            f"{path}: wanted ten orders of the {len(people)} persons of {cameras[0]}; it has "
            f"{len(orders)} of {orders.shape[1]}"
        )
    order = [people[number - 1] for number in orders[int(variant) - 1].tolist()]
    half = len(order) // 2  # the first half is the test's
    return _two_cameras(home, cameras, train=order[half:], test=order[:half])


def _prid(home: Path, variant: str) -> Found:
    """PRID2011 (Hirzer et al., SCIA 2011): the 178 persons of ten splits, which torchreid gives."""
    cameras = [home / f"prid_2011/multi_shot/cam_{camera}" for camera in "ab"]
    path = home / "splits_prid2011.json"
    with blaming(path, saying="is not the file of PRID2011's splits"):
        split = json.loads(path.read_text(encoding="utf-8"))[int(variant) - 1]
        train, test = ([str(one) for one in split[part]] for part in ("train", "test"))
    return _two_cameras(home, cameras, train=train, test=test)


def _two_cameras(
    home: Path, cameras: Sequence[Path], *, train: Sequence[str], test: Sequence[str]
) -> Found:
    """Return persons of both cameras to train on; of the others, camera 1 asks camera 2."""
    numbers = {name: number for number, name in enumerate(sorted({*train, *test}), 1)}
    seen = [
        dict(_of_people(home, folder, camera=camera, numbers=numbers))
        for camera, folder in enumerate(cameras, 1)
    ]
    learned = {numbers[name] for name in train}
    first, second = ({one: own[one] for one in own if one.pid not in learned} for own in seen)
    both = {one: own[one] for own in seen for one in own if one.pid in learned}
    return _found({"train": both, "query": first, "gallery": second})


def _of_people(
    home: Path, folder: Path, *, camera: int, numbers: Mapping[str, int]
) -> Iterator[tuple[Sample, list[str]]]:
    prefix = folder.relative_to(home).as_posix()
    for name, number in numbers.items():
        place = child(folder, name) if inside(name) else None
        frames = image_names(place) if place is not None else []
        if not frames:
            raise BadInput(f"{folder / name} has no frames, and the splits name this person")
        paths = [f"{prefix}/{name}/{frame}" for frame in frames]
        yield Sample(paths[0], number, camera), paths


ENTRIES = (
    laid_out(
        Layout(
            ("MARS",),
            ("bbox_train", "bbox_test", "info/tracks_test_info.mat", "info/query_IDX.mat"),
            _mars,
            (OFFICIAL, WITHOUT),
            tracks=True,
        ),
        name="mars",
        title="MARS",
        url="http://www.liangzheng.com.cn/Project/project_mars.html",
        licence="research use",
        state="available; --variant official, or without-queries in the gallery",
        counts=counts((8298, 625, ANY), (1980, ANY, ANY), (11310, ANY, ANY)),
        variants={WITHOUT: counts(None, None, (9330, ANY, ANY))},
        source="Zheng et al., ECCV 2016; torchreid's mars.py: 8298 + 1980 + 9330 tracklets, the "
        "last without the queries'; 625 of 1261 persons to train on",
    ),
    laid_out(
        Layout(
            ("iLIDS-VID",),
            ("i-LIDS-VID/sequences/cam1", "i-LIDS-VID/sequences/cam2", "train-test people splits"),
            _ilids,
            TEN,
            tracks=True,
        ),
        name="ilids-vid",
        title="iLIDS-VID",
        url="https://xiatian-zhu.github.io/downloads_qmul_iLIDS-VID_ReID_dataset.html",
        licence="research use",
        state="available; --variant 1 to 10",
        counts=counts((300, 150, 2), (150, 150, 1), (150, 150, 1)),
        source="Wang et al., ECCV 2014: 300 persons; halves as in torchreid's ilidsvid.py",
    ),
    laid_out(
        Layout(
            ("prid2011",),
            ("splits_prid2011.json", "prid_2011/multi_shot/cam_a", "prid_2011/multi_shot/cam_b"),
            _prid,
            TEN,
            tracks=True,
        ),
        name="prid2011",
        title="PRID2011",
        url="https://www.tugraz.at/institute/icg/research/team-bischof/lrs/downloads/PRID11/",
        licence="research use",
        state="available; splits_prid2011.json: torchreid's docs/datasets.rst; --variant 1 to 10",
        counts=counts((178, 89, 2), (89, 89, 1), (89, 89, 1)),
        source="Hirzer et al., SCIA 2011; 178 persons: torchreid's docs/datasets.rst",
    ),
)
