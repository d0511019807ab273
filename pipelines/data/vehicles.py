"""Vehicles: VeRi-776, VehicleID and VERI-Wild."""

from pathlib import Path

from ..errors import BadInput
from .entry import ANY, Entry, counts
from .layouts import Found, Layout, Splits, below, laid_out, lines_of, whole
from .market1501 import read_veri776
from .samples import Sample


def _vehicle_ids(home: Path, size: str) -> Found:
    """VehicleID (Liu et al., CVPR 2016): lists of image and vehicle; all of a test are queries."""
    splits: Splits = {}
    for split, name in (("train", "train_list"), ("gallery", f"test_list_{size}")):
        listed = lines_of(home / f"train_test_split/{name}.txt", fields=2)
        splits[split] = [
            Sample(f"image/{below(image, where)}.jpg", whole(vehicle, where))
            for where, (image, vehicle) in listed
        ]
    return Found(splits)


def _vehicles_in_the_wild(home: Path, size: str) -> Found:
    """VERI-Wild (Lou et al., CVPR 2019): lists of vehicle/image; cameras in vehicle_info.txt."""
    folder, cameras = home / "train_test_split", dict[str, int]()
    for where, (line,) in lines_of(folder / "vehicle_info.txt", fields=1, header=1):
        parts = line.split(";")
        if len(parts) < 2:
            raise BadInput(f"{where}: {line[:60]!r}; wanted vehicle/image;camera;…")
        cameras[parts[0]] = whole(parts[1], where)
    names = {"train": "train_list", "query": f"test_{size}_query", "gallery": f"test_{size}"}
    splits: Splits = {}
    for split, name in names.items():
        splits[split] = []
        for where, (line,) in lines_of(folder / f"{name}.txt", fields=1):
            image = below(line, where).removesuffix(".jpg")
            if image not in cameras:
                raise BadInput(f"{where}: {image} has no line in vehicle_info.txt")
            vehicle = whole(image.partition("/")[0], where)
            splits[split].append(Sample(f"images/{image}.jpg", vehicle, cameras[image]))
    return Found(splits)


ENTRIES = (
    Entry(
        name="veri776",
        title="VeRi-776",
        read=read_veri776,
        url="https://vehiclereid.github.io/VeRi/",
        licence="research use, by request to its authors",
        state="by request",
        counts=counts((37778, 576, ANY), (1678, 200, ANY), (11579, 200, ANY)),
        source="Liu et al., ECCV 2016; images: fast-reid's veri.py; identities: MSINet's veri.py",
        marks=(("image_train", "image_query", "image_test"),),
    ),
    laid_out(
        Layout(
            ("VehicleID_V1.0", "VehicleID"),
            ("image", "train_test_split/train_list.txt", "train_test_split/test_list_800.txt"),
            _vehicle_ids,
            ("800", "1600", "2400"),
        ),
        name="vehicleid",
        title="VehicleID (PKU)",
        url="https://pkuml.org/resources/pku-vehicleid.html",
        licence="research use, by request to its authors",
        state="by request; --variant 800 (small), 1600 or 2400",
        counts=counts((113346, 13164, 0), (6493, 800, 0), (6493, 800, 0)),
        variants={
            "1600": counts(None, (13377, 1600, 0), (13377, 1600, 0)),
            "2400": counts(None, (19777, 2400, 0), (19777, 2400, 0)),
        },
        source="Liu et al., CVPR 2016; lists as counted in fast-reid's vehicleid.py",
        rules="vehicleid",
    ),
    laid_out(
        Layout(
            ("VERI-Wild", "veriwild"),
            ("images", "train_test_split/vehicle_info.txt"),
            _vehicles_in_the_wild,
            ("3000", "5000", "10000"),
        ),
        name="veriwild",
        title="VERI-Wild",
        url="https://github.com/PKU-IMRE/VERI-Wild",
        licence="research use, by request to its authors",
        state="by request; --variant 3000 (small), 5000 or 10000",
        counts=counts((277797, 30671, ANY), (3000, 3000, ANY), (38861, 3000, ANY)),
        variants={
            "5000": counts(None, (5000, 5000, ANY), (64389, 5000, ANY)),
            "10000": counts(None, (10000, 10000, ANY), (128517, 10000, ANY)),
        },
        source="Lou et al., CVPR 2019; fast-reid's veriwild.py counts 41861, 69389 and 138517 test "
        "images, of which one of each vehicle is taken to be a query",
    ),
)
