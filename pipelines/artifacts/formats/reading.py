"""Read files of embeddings; the format is recognised by name and by content."""

import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...embeddings import SPLITS, row_blocks
from ...errors import BadInput
from ..embeddings import EXACT, NAMES_AT_A_TIME, open_embeddings, splits_in
from .csv_files import read_npy_and_csv
from .matlab_files import read_mat
from .numpy_files import read_npz
from .parquet_files import read_parquet
from .probe import require_readable
from .split import (
    FIELDS,
    FileSplit,
    Warn,
    checked_split,
    numbered_together,
    require_count,
    require_features,
    rows_per_block,
)
from .torch_files import read_pt

if TYPE_CHECKING:
    import h5py

FORMATS = {
    ".npz": "npz",
    ".npy": "npy",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".pt": "pt",
    ".pth": "pt",
    ".mat": "mat",
    ".h5": "h5",
    ".hdf5": "h5",
}


def read_embedding_files(files: Sequence[Path], warn: Warn) -> dict[str, list[FileSplit]]:
    """Return what the files hold, by split; several files' parts of a split stand in their order.

    Raises:
        BadInput: a file that is not there, of an unknown kind, not what its name says, given
            twice, or an .npy without its CSV.
    """
    if not files:
        raise BadInput("no file given; name one or more files of embeddings")
    kinds = [kind_of(path) for path in files]
    parts: list[FileSplit] = []
    for path, kind in zip(files, kinds, strict=True):
        if kind == "npy":
            parts += read_npy_and_csv(path, _labels_of(path, files), warn=warn)
        elif kind == "csv":
            _features_of(path, files)
        else:
            readers = {"npz": read_npz, "mat": read_mat, "pt": read_pt, "parquet": read_parquet}
            parts += readers[kind](path, warn) if kind in readers else read_h5(path)
    parts = numbered_together(parts, warn)
    by_split = {name: [part for part in parts if part.split == name] for name in SPLITS}
    return {name: found for name, found in by_split.items() if found}


def read_h5(path: Path) -> list[FileSplit]:
    """Read a file of our own schema."""
    with open_embeddings(path) as file:  # which refuses what points elsewhere
        present = splits_in(file)
    require_readable(path, "h5")
    with open_embeddings(path) as file:
        for split in present:
            missing = [field for field in FIELDS if field not in file[split]]
            if missing:
                raise BadInput(f"{path}, split {split}: it has no {', '.join(missing)}")
        shapes = {split: _features(file[split]).shape for split in present}
        dtypes = {split: _features(file[split]).dtype.name for split in present}
        for split, field in ((split, field) for split in present for field in ("pids", "camids")):
            where = f"{path}, split {split}"
            require_features(where, shape=shapes[split], dtype=dtypes[split])
            labelled = file[split][field].shape
            require_count(where, rows=shapes[split][0], shape=labelled, what=field)
        pids = {split: file[split]["pids"][:] for split in present}
        camids = {split: file[split]["camids"][:] for split in present}
        counts = {split: len(file[split]["names"]) for split in present}
    return [
        checked_split(
            path,
            split,
            shape=shapes[split],
            dtype=dtypes[split],
            blocks=partial(_h5_blocks, path, split),
            pids=pids[split],
            camids=camids[split],
            names=partial(_h5_names, path, split),
            names_count=counts[split],
        )
        for split in present
    ]


def kind_of(path: Path) -> str:
    """Return the format that a file's name says, after checking that its content agrees."""
    if not path.is_file():
        raise BadInput(f"{path} is not there; a file of embeddings is wanted")
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise BadInput(
            f"{path}: {path.suffix or 'a name without an ending'} is no kind of file that is read; "
            f"wanted {', '.join(FORMATS)}"
        )
    content = content_kind(path)
    if content != kind and not (kind == "mat" and content in ("h5", "")) and content != "any":
        raise BadInput(
            f"{path} is not what its name says: {path.suffix} is wanted, but it "
            + (
                f"begins like a {'text' if content == 'csv' else content} file"
                if content
                else "is of no kind that is read here"
            )
        )
    return kind


def content_kind(path: Path) -> str:
    """Return the format that a file's first bytes show; `any` for text, and "" when unknown."""
    with path.open("rb") as file:
        head = file.read(1024)
    if not head:
        raise BadInput(f"{path} is empty")
    if head.startswith(b"PK"):
        return _zip_kind(path)
    for magic, kind in (
        (b"\x93NUMPY", "npy"),
        (b"PAR1", "parquet"),
        (b"MATLAB", "mat"),
        (b"\x89HDF\r\n\x1a\n", "h5"),
        (b"\x80\x02", "pt"),
    ):
        if head.startswith(magic):
            return kind
    return "csv" if b"\0" not in head else ""


def _zip_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise BadInput(f"{path} is truncated or damaged ({error}); make it again") from error
    if any(name.endswith("data.pkl") for name in names):
        return "pt"
    return "npz" if all(name.endswith(".npy") for name in names) else "zip"


def _labels_of(features: Path, files: Sequence[Path]) -> Path:
    tables = [path for path in files if path.suffix.lower() == ".csv"]
    arrays = [path for path in files if path.suffix.lower() == ".npy"]
    named = [path for path in tables if path.stem == features.stem]
    if len(named) == 1:
        return named[0]
    if len(tables) == 1 and len(arrays) == 1:
        return tables[0]
    raise BadInput(
        f"{features} has no labels: give the CSV of path,pid,camid,split beside it, with the same "
        f"name ({features.stem}.csv)"
    )


def _features_of(labels: Path, files: Sequence[Path]) -> None:
    arrays = [path for path in files if path.suffix.lower() == ".npy"]
    tables = [path for path in files if path.suffix.lower() == ".csv"]
    if any(path.stem == labels.stem for path in arrays) or len(arrays) == len(tables) == 1:
        return
    raise BadInput(f"{labels} labels no features: give its .npy too ({labels.stem}.npy)")


def _h5_blocks(path: Path, split: str) -> Iterator[np.ndarray]:
    with open_embeddings(path) as file:
        features = _features(file[split])
        width = features.shape[1] * features.dtype.itemsize
        for block in row_blocks(len(features), rows_per_block(width)):
            yield features[block]


def _features(group: "h5py.Group") -> "h5py.Dataset":
    return group[EXACT] if EXACT in group else group["features"]


def _h5_names(path: Path, split: str) -> Iterator[str]:
    with open_embeddings(path) as file:
        names = file[split]["names"]
        for block in row_blocks(len(names), NAMES_AT_A_TIME):
            yield from names.asstr()[block].tolist()
