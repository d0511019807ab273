"""Small sets of two cameras, evaluated on ten random halves of their persons.

VIPeR, GRID, PRID-450S and CUHK01. Variants 1 to 10 train on one half and test on the other. The
variant `all` tests on everybody, for a network that was trained on other images: there the rules
draw ten halves.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import BadInput, blaming
from ..probe import require_readable
from ..seeding import numpy_generator
from .entry import ANY, Entry, counts, names_in
from .layouts import Found, Layout, Part, laid_out, read_parts

ALL = "all"
VARIANTS = (*(str(number) for number in range(1, 11)), ALL)
SEED = 0
DISTRACTOR = 0  # GRID: persons whom no query shows
GRID_SPLITS = "features_and_partitions.mat"


@dataclass(frozen=True)
class Pairs:
    """Images of two cameras.

    parts:    of the queries and of the gallery.
    training: returns the persons of a variant to train on, where the authors say; of its folder.
    more:     other fields of the `Dataset`.
    """

    parts: tuple[Part, ...]
    training: Callable[[Path, int], Collection[int]] | None = None
    more: tuple[tuple[str, Any], ...] = ()


def _read(home: Path, variant: str, *, pairs: Pairs, name: str) -> Found:
    found = read_parts(home, pairs.parts)
    query, gallery = found.splits["query"], found.splits["gallery"]
    if variant == ALL:
        return Found(found.splits, found.columns, more={**dict(pairs.more), "rules": "halves"})
    if pairs.training is not None:
        chosen = set(pairs.training(home, int(variant)))
    else:
        people = sorted({one.pid for one in query} & {one.pid for one in gallery})
        order = numpy_generator(SEED, name, "halves", int(variant)).permutation(len(people))
        chosen = {people[place] for place in order[: len(people) // 2]}
    splits = {
        "train": [one for one in (*query, *gallery) if one.pid in chosen],
        "query": [one for one in query if one.pid not in chosen],
        "gallery": [one for one in gallery if one.pid not in chosen],
    }
    empty = [split for split, samples in splits.items() if not samples]
    if empty:
        raise BadInput(f"{home}: half of the persons leave no image for {empty[0]}")
    return Found(splits, found.columns, more=dict(pairs.more))


def _grid_training(home: Path, number: int) -> set[int]:
    """Return the persons of a split of GRID to train on: a cell of structures, the third field."""
    path = home / GRID_SPLITS
    if not path.is_file():
        raise BadInput(f"{path} is not there; it holds GRID's ten splits (or take --variant all)")
    require_readable(path, "mat")
    with blaming(path, saying="is not the file of GRID's splits"):
        from scipy.io import loadmat

        split = loadmat(str(path))["trainIdxAll"][0][number - 1][0][0]
        return {int(person) for person in split[2][0].tolist()}


def _entry(pairs: Pairs, *, folders: tuple[str, ...], name: str, **facts: Any) -> Entry:
    needs = tuple(dict.fromkeys(part.folder for part in pairs.parts))
    read = partial(_read, pairs=pairs, name=name)
    given = {"rules": "single-shot", "state": "available; --variant 1 to 10, or all (no training)"}
    return laid_out(Layout(folders, needs, read, VARIANTS), name=name, **given | facts)


def _two(folders: tuple[str, str], pattern: str, *, example: str, strict: bool = True) -> Pairs:
    """Return the images of two folders, the first of camera 1 and asked for."""
    splits = zip(("query", "gallery"), folders, strict=True)
    return Pairs(
        tuple(
            Part(split, folder, pattern, example, labels={"camid": camera}, strict=strict)
            for camera, (split, folder) in enumerate(splits, 1)
        )
    )


VIPER = r"(?P<pid>\d+)(_(?P<viewpoint>\d+))?\.bmp"
PRID450S = r"img_(?P<pid>\d+)\."
GRID = r"(?P<pid>\d{4})_(?P<camid>\d+)_"
CUHK01 = r"(?P<pid>\d{4})00"
ENTRIES = (
    _entry(
        _two(("cam_a", "cam_b"), VIPER, example="001_45.bmp"),
        folders=("VIPeR", "VIPeR.v1.0"),
        name="viper",
        title="VIPeR",
        url="https://vision.soe.ucsc.edu/node/178",
        counts=counts((632, 316, 2), (316, 316, 1), (316, 316, 1)),
        variants={ALL: counts(None, (632, 632, 1), (632, 632, 1))},
        source="Gray, Brennan and Tao, PETS 2007: 632 persons; torchreid's viper.py",
        looks=names_in("cam_a", VIPER),
    ),
    _entry(
        Pairs(
            (
                Part("query", "probe", GRID, "0001_1_25008_169_19_96_224.jpeg"),
                Part("gallery", "gallery", GRID, "0001_2_25023_116_134_128_330.jpeg"),
            ),
            _grid_training,
            (("distractor", DISTRACTOR),),
        ),
        folders=("underground_reid", "grid"),
        name="grid",
        title="GRID (underground)",
        url="http://personal.ie.cuhk.edu.hk/~ccloy/downloads_qmul_underground_reid.html",
        counts=counts((250, 125, ANY), (125, 125, ANY), (900, 125, ANY)),
        variants={ALL: counts(None, (250, 250, ANY), (1025, 250, ANY))},
        source="Loy et al., CVPR 2009: 250 persons, 1,275 images; torchreid's grid.py",
        looks=names_in("probe", GRID),
    ),
    _entry(
        _two(("cam_a", "cam_b"), PRID450S, example="img_001.png", strict=False),
        folders=("prid_450s", "prid450s"),
        name="prid450s",
        title="PRID-450S",
        url="https://www.tugraz.at/institute/icg/research/team-bischof/lrs/downloads/prid450s/",
        counts=counts((450, 225, 2), (225, 225, 1), (225, 225, 1)),
        variants={ALL: counts(None, (450, 450, 1), (450, 450, 1))},
        source="Roth et al., 2014: 450 persons, 900 images; torchreid's prid450s.py",
        looks=names_in("cam_a", PRID450S),
    ),
    _entry(
        Pairs(
            (
                Part("query", "campus", CUHK01 + r"[12]\.", "0001001.png", labels={"camid": 1},
                     strict=False),
                Part("gallery", "campus", CUHK01 + r"[34]\.", "0001003.png", labels={"camid": 2},
                     strict=False),
            )
        ),
        folders=("CUHK01",),
        name="cuhk01",
        title="CUHK01",
        url="https://www.ee.cuhk.edu.hk/~xgwang/CUHK_identification.html",
        counts=counts((1940, 485, 2), (972, 486, 1), (972, 486, 1)),
        variants={ALL: counts(None, (1942, 971, 1), (1942, 971, 1))},
        source="Li, Zhao and Wang, ACCV 2012: 971 persons, 3,884 images; torchreid's cuhk01.py",
        looks=names_in("campus", CUHK01),
    ),
)  # fmt: skip
