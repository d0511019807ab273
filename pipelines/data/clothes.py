"""Persons who change their clothes: LTCC, PRCC and VC-Clothes, with a label `clothes`.

It counts a person's outfits: 1 of one person is not 1 of another.
"""

from pathlib import Path

from .entry import ANY, counts, names_in
from .layouts import Found, Layout, Part, laid_out, read_parts

GENERAL, CHANGED, SAME = "general", "cloth-changing", "same-clothes"
LTCC = r"(?P<pid>\d+)_(?P<clothes>\d+)_c(?P<camid>\d+)_"
VC_CLOTHES = r"(?P<pid>\d+)-(?P<camid>\d+)-(?P<clothes>\d+)-\d+"
COMPARED = {GENERAL: (), CHANGED: (3, 4), SAME: (2, 3)}  # VC-Clothes's cameras
# PRCC: a person wears the same in cameras A and B, and something else in C.
PRCC = {letter: {"camid": n, "clothes": max(1, n - 1)} for n, letter in enumerate("ABC", 1)}
PRCC_TRAIN = r"(?P<pid>\d+)/(?=(?P<clothes>[ABC]))(?P<camid>[ABC])"


def _ltcc(home: Path, _: str) -> Found:
    """LTCC (Qian et al., ACCV 2020): names of person, clothes and camera."""
    folders = {"train": "train", "query": "query", "gallery": "test"}
    example = "001_1_c3_015833.png"
    return read_parts(home, [Part(split, name, LTCC, example) for split, name in folders.items()])


def _prcc(home: Path, variant: str) -> Found:
    """PRCC (Yang, Wu and Zheng, TPAMI 2021): queries of camera C, or B, in a gallery of A."""
    asked = {CHANGED: "C", SAME: "B"}[variant]
    codes = {label: {letter: one[label] for letter, one in PRCC.items()} for label in PRCC["A"]}
    return read_parts(
        home,
        [
            Part("train", "rgb/train", PRCC_TRAIN, "001/A_cropped_rgb001.jpg", codes),
            *(
                Part(split, f"rgb/test/{letter}", r"(?P<pid>\d+)/", "001/cropped_rgb001.jpg",
                     labels=PRCC[letter])
                for split, letter in (("query", asked), ("gallery", "A"))
            ),
        ],
    )  # fmt: skip


def _vc_clothes(home: Path, variant: str) -> Found:
    """VC-Clothes (Wan et al., CVPR workshops 2020): names of person, camera, clothes, number.

    Persons wear the same in cameras 2 and 3, and something else in 4.
    """
    example = "0001-01-01-01.jpg"
    parts = [Part(name, name, VC_CLOTHES, example) for name in ("train", "query", "gallery")]
    return read_parts(home, parts, cameras=COMPARED[variant])


ENTRIES = (
    laid_out(
        Layout(("LTCC_ReID", "ltcc"), ("train", "query", "test"), _ltcc),
        name="ltcc",
        title="LTCC",
        url="https://naiq.github.io/LTCC_Perosn_ReID.html",
        licence="non-commercial research, by request to its authors",
        state="by request; --rules market1501 for the general setting",
        counts=counts((9576, 77, ANY), (493, 75, ANY), (7050, 75, ANY)),
        source="Qian et al., ACCV 2020; as in dataset/LTCC.py of github.com/QizaoWang/CAMC-CCReID",
        rules="cloth-changing",
        looks=names_in("train", LTCC),
    ),
    laid_out(
        Layout(("prcc",), ("rgb/train", "rgb/test/A", "rgb/test/B", "rgb/test/C"), _prcc,
               (CHANGED, SAME)),
        name="prcc",
        title="PRCC",
        url="https://drive.google.com/file/d/1yTYawRm4ap3M-j0PjLQJ--xmZHseFDLz/view",
        licence="research use",
        state="available; --variant cloth-changing or same-clothes",
        counts=counts((17896, 150, 3), (ANY, 71, 1), (ANY, 71, 1)),
        source="Yang, Wu and Zheng, TPAMI 2021: 150 and 71 persons; images as counted by public "
        "readers of rgb/train (17896; test 10800)",
        rules="prcc",
    ),
    laid_out(
        Layout(("VC-Clothes", "vcclothes"), ("train", "query", "gallery"), _vc_clothes,
               (GENERAL, CHANGED, SAME)),
        name="vc-clothes",
        title="VC-Clothes",
        url="https://wanfb.github.io/dataset.html",
        licence="research use",
        state="available; --variant general, cloth-changing or same-clothes",
        counts=counts((9449, 256, ANY), (1020, 256, ANY), (8591, 256, ANY)),
        variants={one: counts(None, (ANY, ANY, 2), (ANY, ANY, 2)) for one in (CHANGED, SAME)},
        source="Wan et al., CVPR Workshops 2020: half of 512 persons; images as a public reader "
        "counts them, 19060 in all",
        looks=names_in("train", VC_CLOTHES),
    ),
)  # fmt: skip
