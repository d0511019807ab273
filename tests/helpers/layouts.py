"""Small made-up copies of the data sets' layouts, file names as in the real ones."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (8, 16)) -> Path:
    """Write a small picture of noise; `size` is width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_images(folder: Path, names: Iterable[str]) -> Path:
    for seed, name in enumerate(names):
        write_image(folder / name, seed)
    return folder


def write_market1501(home: Path) -> Path:
    """Two people to train on, two others to find, one junk image, one distractor."""
    write_images(
        home / "bounding_box_train",
        [
            f"{pid}_c{camera}s1_{frame:06d}_01.jpg"
            for pid in ("0002", "0007")
            for camera in (1, 2)
            for frame in (51, 76)
        ],
    )
    write_images(home / "query", ["0003_c1s1_001051_00.jpg", "0004_c6s3_094567_00.jpg"])
    write_images(
        home / "bounding_box_test",
        [
            "-1_c1s1_000401_03.jpg",
            "0000_c1s1_000151_01.jpg",
            "0003_c3s3_064744_04.jpg",
            "0004_c2s2_054132_02.jpg",
        ],
    )
    (home / "bounding_box_train" / "Thumbs.db").write_bytes(b"not an image")
    (home / "readme.txt").write_text("left in the archive")
    return home


def write_dukemtmcreid(home: Path) -> Path:
    write_images(
        home / "bounding_box_train",
        ["0001_c2_f0046182.jpg", "0001_c5_f0051341.jpg", "0005_c2_f0046985.jpg"],
    )
    write_images(home / "query", ["0033_c1_f0057706.jpg"])
    write_images(home / "bounding_box_test", ["0033_c8_f0045239.jpg", "0002_c1_f0044158.jpg"])
    return home


def write_msmt17(home: Path, *, train: str = "train", test: str = "test") -> Path:
    """Labels are in the lists; the test's numbers begin at 0 again."""
    lists = {
        "list_train.txt": (train, ["0000/0000_000_01_0303morning_0015_0.jpg 0",
                                   "0001/0001_000_14_0303noon_0010_1.jpg 1"]),
        "list_val.txt": (train, ["0001/0001_001_05_0303noon_0011_0.jpg 1"]),
        "list_query.txt": (test, ["0000/0000_000_02_0113morning_0001_0.jpg 0"]),
        "list_gallery.txt": (test, ["0000/0000_001_03_0113morning_0002_0_ex.jpg 0",
                                    "0002/0002_000_03_0113morning_0002_0.jpg 2"]),
    }  # fmt: skip
    for name, (folder, lines) in lists.items():
        (home / folder).mkdir(parents=True, exist_ok=True)
        (home / name).write_text("\n".join(lines) + "\n")
        write_images(home / folder, [line.rpartition(" ")[0] for line in lines])
    return home


CUHK03_NAMES = ["1_001_1_01.png", "1_001_2_06.png", "1_002_1_01.png", "1_002_2_06.png"]


def write_cuhk03_protocol(home: Path, boxes: str) -> Path:
    """Person 1 to train on, person 2 to find: 1-based rows, as MATLAB writes them."""
    from scipy.io import savemat

    home.mkdir(parents=True, exist_ok=True)
    content = {
        "filelist": np.array(CUHK03_NAMES, dtype=object).reshape(-1, 1),
        "labels": np.array([[1.0], [1.0], [2.0], [2.0]]),
        "camId": np.array([[1.0], [2.0], [1.0], [2.0]]),
        "train_idx": np.array([[1.0], [2.0]]),
        "query_idx": np.array([[3.0]]),
        "gallery_idx": np.array([[4.0]]),
    }
    savemat(home / f"cuhk03_new_protocol_config_{boxes}.mat", content)
    return home


def write_cuhk03_archive(path: Path, boxes: str) -> Path:
    """cuhk-03.mat: one camera pair, two people, images 1 and 6 of each, as MATLAB 7.3 lays out."""
    import h5py

    with h5py.File(path, "w") as file:
        people = file.create_dataset("people", (10, 2), dtype=h5py.ref_dtype)
        for person in range(2):
            for number in range(10):
                name = f"image_{person}_{number}"
                if number in (0, 5):
                    pixels = np.zeros((3, 4, 8), np.uint8)  # colours, width, height
                    pixels[person, 0, :] = 200  # the leftmost column, in one colour
                    image = file.create_dataset(name, data=pixels)
                else:
                    image = file.create_dataset(name, data=np.zeros(2, np.uint64))  # an empty cell
                people[number, person] = image.ref
        pairs = file.create_dataset(boxes, (1, 1), dtype=h5py.ref_dtype)
        pairs[0, 0] = people.ref
    return path
