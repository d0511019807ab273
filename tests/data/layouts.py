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
