"""Persons of whom only a part is seen, asked for among whole ones: tests without a training set."""

from pathlib import Path

from .entry import ANY, Entry, counts, names_in
from .layouts import Found, Layout, Part, laid_out, read_parts
from .market1501 import DUKE, read_occluded_duke

WHOLE = "whole_body_images"
OCCLUDED, PARTIAL = "occluded", "partial"


def _occluded_reid(home: Path, _: str) -> Found:
    """Occluded-REID (Zhuo et al., ICME 2018): a folder a person, five images of each kind."""
    return _asked_among_whole(
        home, folder="occluded_body_images", pattern=r"(?P<pid>\d+)/", example="001/001_01.tif"
    )


def _partial_reid(home: Path, variant: str) -> Found:
    """Partial-REID (Zheng et al., ICCV 2015): names begin with the person's number."""
    return _asked_among_whole(
        home, folder=f"{variant}_body_images", pattern=r"(?P<pid>\d+)_", example="001_001.jpg"
    )


def _asked_among_whole(home: Path, *, folder: str, pattern: str, example: str) -> Found:
    """Return images asked for, as of camera 1, among whole ones, as of camera 2."""
    folders = {"query": folder, "gallery": WHOLE}
    return read_parts(
        home,
        [
            Part(split, name, pattern, example, labels={"camid": camera})
            for camera, (split, name) in enumerate(folders.items(), 1)
        ],
    )


ENTRIES = (
    Entry(
        name="occluded-duke",
        title="Occluded-Duke",
        read=read_occluded_duke,
        url="https://github.com/lightas/Occluded-DukeMTMC-Dataset",
        licence="CC BY-NC-SA 4.0 (DukeMTMC)",
        state="a list of files for DukeMTMC-reID, which was withdrawn",
        counts=counts((15618, 702, 8), (2210, 519, 8), (17661, 1110, 8)),
        source="Miao et al., ICCV 2019; the lines of the lists in its repository",
        marks=DUKE.marks,
        looks=DUKE.looks,
    ),
    laid_out(
        Layout(
            ("Partial_REID", "PartialREID", "Partial-REID_Dataset"),
            ("partial_body_images", "occluded_body_images", WHOLE),
            _partial_reid,
            (PARTIAL, OCCLUDED),
        ),
        name="partial-reid",
        title="Partial-REID",
        licence="research use",
        state="--variant partial or occluded; no training set",
        counts=counts(None, (300, 60, 1), (ANY, 60, 1)),
        source="Zheng et al., ICCV 2015; reid_datasets.md of github.com/wangguanan/light-reid",
    ),
    laid_out(
        Layout(("Occluded_REID", "OccludedREID"), ("occluded_body_images", WHOLE), _occluded_reid),
        name="occluded-reid",
        title="Occluded-REID",
        url="https://github.com/tinajia2012/ICME2018_Occluded-Person-Reidentification_datasets",
        licence="non-commercial use",
        state="available; no training set",
        counts=counts(None, (1000, 200, 1), (1000, 200, 1)),
        source="Zhuo et al., ICME 2018; reid_datasets.md of github.com/wangguanan/light-reid",
        looks=names_in("occluded_body_images", r"\d+$"),  # Partial-REID's holds images
    ),
)
