"""Unpack cuhk-03.mat (MATLAB 7.3, which is HDF5) into a folder of PNG files."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..errors import BadInput
from ..hdf5 import reading
from ..progress import Progress

if TYPE_CHECKING:
    import h5py


def unpack_archive(archive: Path, boxes: str, *, folder: Path, progress: Progress) -> Path:
    """Write the images of cuhk-03.mat, "labeled" or "detected", to `folder`; return it.

    Names are those of the 767/700 protocol, PAIR_PERSON_VIEW_NUMBER.png. The folder appears only
    when it is whole.

    Raises:
        BadInput: not that file, or the folder cannot be written.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        partial.mkdir(parents=True)
        with reading(archive) as file, progress.task("unpack cuhk-03.mat", None) as task:
            for name, pixels in _images(file, boxes):
                Image.fromarray(pixels).save(partial / name)
                task.advance()
        os.replace(partial, folder)
    except (KeyError, ValueError, TypeError, IndexError, OSError) as error:
        raise BadInput(
            f"the images of {archive} cannot be taken out to {folder}: {error}. Is it the whole "
            "cuhk-03.mat, and may the folder be written?"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _images(file: "h5py.File", boxes: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield names and pixels [H, W, 3] uint8 of every box: pairs × people × up to 10 images."""
    for pair, reference in enumerate(np.asarray(file[boxes]).reshape(-1), start=1):
        people: Any = file[reference][()].T  # [people, 10] references
        for person, row in enumerate(people, start=1):
            for number, image in enumerate(row, start=1):
                pixels: Any = file[image][()]  # MATLAB's order: [3, W, H]
                if pixels.ndim == 3 and pixels.size:
                    view = 1 if number <= 5 else 2
                    yield f"{pair}_{person:03d}_{view}_{number:02d}.png", pixels.T.astype(np.uint8)
