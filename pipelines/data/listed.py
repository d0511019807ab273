"""Data sets whose images are named in lists: products, birds, cars, clothes and vehicles."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import BadInput, blaming
from ..probe import require_readable
from .folders import find_home, inside
from .samples import NO_CAMERA, Dataset, Sample
from .tables import encoding_of

Splits = dict[str, list[Sample]]
SIZES = {
    "vehicleid": ("800", "1600", "2400"),
    "veriwild": ("3000", "5000", "10000"),
}  # of the test sets, the first by default


@dataclass(frozen=True)
class Layout:
    """How a data set lies on disk.

    folders: what its folder may be called.   needs: entries that it has.   read: of its folder
    and the variant, the splits; without a query, every gallery image is one.
    """

    folders: tuple[str, ...]
    needs: tuple[str, ...]
    read: Callable[[Path, str], Splits]
    variants: tuple[str, ...] = ()


def read_listed(root: Path, dataset: str, *, variant: str | None = None) -> Dataset:
    """Read a data set of LAYOUTS from its folder or the folder that it lies in.

    variant: one of its test sets; None: the first.

    Raises:
        BadInput: another layout, an unknown variant, or lists that do not parse.
    """
    layout = LAYOUTS[dataset]
    chosen = variant or (layout.variants or ("",))[0]
    if variant is not None and variant not in layout.variants:
        known = ", ".join(layout.variants) or "none"
        raise BadInput(f"--variant {variant}: {dataset} has {known}")
    home, _ = find_home(root, names=layout.folders, layouts=[layout.needs], dataset=dataset)
    splits = {split: sorted(samples) for split, samples in layout.read(home, chosen).items()}
    splits.setdefault("query", splits["gallery"])
    options = {} if variant is None else {"variant": variant}
    return Dataset(dataset, home, splits, options=options)


def lines_of(path: Path, *, fields: int, header: int = 0) -> Iterator[tuple[str, list[str]]]:
    """Yield where a line stands and its fields, which spaces separate; the last may have spaces.

    Raises:
        BadInput: no such file, or a line with fewer fields.
    """
    if not path.is_file():
        raise BadInput(f"{path} is not there; it lists the images")
    text = path.read_text(encoding=encoding_of(path), errors="replace")
    listed = False
    for number, line in enumerate(text.splitlines(), 1):
        if number <= header or not line.strip():
            continue
        parts = line.split(maxsplit=fields - 1)
        where = f"{path}, line {number}"
        if len(parts) < fields:
            found = f"{line.strip()[:60]!r} has {len(parts)} fields"
            raise BadInput(f"{where}: {found}; {fields} are wanted")
        listed = True
        yield where, [part.strip() for part in parts]
    if not listed:
        raise BadInput(f"{path} lists no images; it is empty or cut")


def whole(text: str, where: str) -> int:
    """Return the whole number that a text ends in, as id_00000017 does."""
    match = re.search(r"(\d+)$", text)
    if match is None:
        raise BadInput(f"{where}: {text!r} ends in no number")
    return int(match[1])


def below(name: str, where: str) -> str:
    """Return a path of a list; BadInput where it leads out of the data set's folder."""
    if not inside(name):
        raise BadInput(f"{where}: {name!r} leads out of the data set's folder")
    return name.replace("\\", "/")


def _products(home: Path, _: str) -> Splits:
    """Stanford Online Products (Oh Song et al., CVPR 2016): Ebay_train.txt, Ebay_test.txt."""
    splits: Splits = {}
    for split, name in (("train", "Ebay_train.txt"), ("gallery", "Ebay_test.txt")):
        splits[split] = [
            Sample(below(path, where), whole(product, where))
            for where, (_, product, _, path) in lines_of(home / name, fields=4, header=1)
        ]
    return splits


def _birds(home: Path, _: str) -> Splits:
    """CUB-200-2011 (Wah et al., 2011): classes 1 to 100 to train on, the others to test."""
    labels = {
        number: whole(label, where)
        for where, (number, label) in lines_of(home / "image_class_labels.txt", fields=2)
    }
    splits: Splits = {"train": [], "gallery": []}
    for where, (number, path) in lines_of(home / "images.txt", fields=2):
        if number not in labels:
            raise BadInput(f"{where}: image {number} has no line in image_class_labels.txt")
        split = "train" if labels[number] <= 100 else "gallery"
        splits[split].append(Sample(f"images/{below(path, where)}", labels[number]))
    return splits


def _cars(home: Path, _: str) -> Splits:
    """Cars-196 (Krause et al., 2013): cars_annos.mat; classes 1 to 98 to train on."""
    from scipy.io import loadmat

    path = home / "cars_annos.mat"
    require_readable(path, "mat")
    splits: Splits = {"train": [], "gallery": []}
    with blaming(path, saying="is not the file of Cars-196's annotations"):
        for entry in loadmat(str(path), squeeze_me=True)["annotations"].ravel():
            label, name = int(entry["class"]), below(str(entry["relative_im_path"]), str(path))
            splits["train" if label <= 98 else "gallery"].append(Sample(name, label))
    return splits


def _clothes(home: Path, _: str) -> Splits:
    """In-shop Clothes Retrieval (Liu et al., CVPR 2016): a line of image, item and split."""
    path = home / "Eval/list_eval_partition.txt"
    splits: Splits = {"train": [], "query": [], "gallery": []}
    for where, (name, item, split) in lines_of(path, fields=3, header=2):
        if split not in splits:
            raise BadInput(f"{where}: the split is {split!r}; wanted train, query or gallery")
        splits[split].append(Sample(below(name, where), whole(item, where)))
    return splits


def _vehicle_ids(home: Path, size: str) -> Splits:
    """VehicleID (Liu et al., CVPR 2016): lists of image and vehicle; all of a test are queries."""
    splits: Splits = {}
    for split, name in (("train", "train_list"), ("gallery", f"test_list_{size}")):
        listed = lines_of(home / f"train_test_split/{name}.txt", fields=2)
        splits[split] = [
            Sample(f"image/{below(image, where)}.jpg", whole(vehicle, where))
            for where, (image, vehicle) in listed
        ]
    return splits


def _vehicles_in_the_wild(home: Path, size: str) -> Splits:
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
        splits[split] = [
            Sample(
                f"images/{below(line, where).removesuffix('.jpg')}.jpg",
                whole(line.partition("/")[0], where),
                cameras.get(line.removesuffix(".jpg"), NO_CAMERA),
            )
            for where, (line,) in lines_of(folder / f"{name}.txt", fields=1)
        ]
    return splits


LAYOUTS: dict[str, Layout] = {
    "sop": Layout(
        ("Stanford_Online_Products", "online_products", "sop"),
        ("Ebay_train.txt", "Ebay_test.txt"),
        _products,
    ),
    "cub200": Layout(
        ("CUB_200_2011", "cub200", "cub"),
        ("images.txt", "image_class_labels.txt", "images"),
        _birds,
    ),
    "inshop": Layout(
        ("In-shop", "inshop", "In-shop Clothes Retrieval Benchmark"),
        ("img", "Eval/list_eval_partition.txt"),
        _clothes,
    ),
    "cars196": Layout(("cars196", "cars", "car"), ("cars_annos.mat", "car_ims"), _cars),
    "vehicleid": Layout(
        ("VehicleID_V1.0", "VehicleID"),
        ("image", "train_test_split/train_list.txt", "train_test_split/test_list_800.txt"),
        _vehicle_ids,
        SIZES["vehicleid"],
    ),
    "veriwild": Layout(
        ("VERI-Wild", "veriwild"),
        ("images", "train_test_split/vehicle_info.txt"),
        _vehicles_in_the_wild,
        SIZES["veriwild"],
    ),
}


def reader(dataset: str) -> Callable[..., Dataset]:
    """Return what reads a data set of LAYOUTS below a root."""
    read: Any = partial(read_listed, dataset=dataset)
    return read
