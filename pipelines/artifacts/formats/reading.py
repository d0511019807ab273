"""Read files of embeddings; the format is recognised by name and by content."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

from ...data.tables import MARKS
from ...embeddings import SPLITS
from ...errors import BadInput, blaming, naming
from ...files import require_file
from .csv_files import has_numbers, read_csv, read_npy, read_npy_and_csv
from .hdf5_files import read_h5
from .keys import Warn
from .matlab_files import read_mat
from .npy_folder import read_npy_folder
from .numpy_files import read_npz
from .parquet_files import read_parquet
from .split import FileSplit, numbered_together
from .torch_files import read_pt

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


READERS = {
    "npz": read_npz,
    "mat": read_mat,
    "pt": read_pt,
    "parquet": read_parquet,
    "h5": read_h5,
}


def read_embedding_files(
    files: Sequence[Path], warn: Warn, *, labelled: bool = True
) -> dict[str, list[FileSplit]]:
    """Return what the files hold, by split; several files' parts of a split stand in their order.

    labelled: whether everything needs an identity and a split. What has no split, where none is
              needed, stands under "".

    Raises:
        BadInput: a file that is not there, of an unknown kind, not what its name says, given
            twice, or an .npy without its CSV. Whatever a format's library says of a file is
            BadInput that names it.
    """
    if not files:
        raise BadInput("no file given; name one or more files of embeddings")
    kinds = kinds_of(files, labelled=labelled)
    parts: list[FileSplit] = []
    for path, kind in kinds.items():
        with blaming(path):
            if kind in READERS:
                parts += READERS[kind](path, warn, labelled=labelled)
            elif kind == "npy" and (table := _labels_of(path, files)):
                parts += read_npy_and_csv(path, table, warn=warn)
            elif kind == "npy":
                parts += read_npy(path)
            elif kind == "csv" and not _labels_others(path, files):
                parts += read_csv(path, warn, labelled=labelled)
            elif kind == "folder":
                parts += read_npy_folder(path, files, warn=warn)
    with naming(", ".join(map(str, files))):
        parts = numbered_together(parts, warn)
    by_split = {name: [part for part in parts if part.split == name] for name in (*SPLITS, "")}
    return {name: found for name, found in by_split.items() if found}


def kinds_of(files: Sequence[Path], *, labelled: bool = True) -> dict[Path, str]:
    """Return each file's format; BadInput where one is not what it seems or its labels lack."""
    kinds = {path: kind_of(path) for path in files}
    for path, kind in kinds.items():
        if kind == "csv" and not _labels_others(path, files) and not has_numbers(path):
            raise BadInput(
                f"{path} has no embeddings: a CSV holds path,pid,camid,split and the embeddings "
                f"in columns f0, f1, … Or give them as {path.stem}.npy, with a row for each line"
            )
        elif kind == "npy" and labelled and _labels_of(path, files) is None:
            table = path.with_suffix(".csv")
            wanted = "its CSV" if table.is_file() else "a CSV of path,pid,camid,split"
            raise BadInput(f"{path} has no labels: name {wanted} after it, as in {path} {table}")
    return kinds


def kind_of(path: Path) -> str:
    """Return the format that a file's name says, after checking that its content agrees."""
    if path.is_dir():
        return "folder"
    require_file(path, "a file of embeddings")
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise BadInput(
            f"{path}: {path.suffix or 'a name without an ending'} is no kind of file that is read; "
            f"wanted {', '.join(FORMATS)}"
        )
    content = content_kind(path)
    alike = {"mat": ("h5", ""), "csv": ("",)}  # a CSV with a NUL is refused by its line
    if content != kind and content not in alike.get(kind, ()):
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
    """Return the format that a file's first bytes show, `csv` for text; "" when unknown."""
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
    wide = any(head.startswith(mark) for mark, _ in MARKS)  # UTF-16 is full of NULs
    return "csv" if wide or b"\0" not in head else ""


def _zip_kind(path: Path) -> str:
    with blaming(path), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("data.pkl") for name in names):
        return "pt"
    return "npz" if all(name.endswith(".npy") for name in names) else "zip"


def _labels_of(features: Path, files: Sequence[Path]) -> Path | None:
    tables = [path for path in files if path.suffix.lower() == ".csv"]
    arrays = [path for path in files if path.suffix.lower() == ".npy"]
    named = [path for path in tables if path.stem == features.stem]
    if len(named) == 1:
        return named[0]
    return tables[0] if len(tables) == 1 and len(arrays) == 1 else None


def _labels_others(labels: Path, files: Sequence[Path]) -> bool:
    """Return whether a CSV labels the rows of another file, or the files of a folder."""
    arrays = [path for path in files if path.suffix.lower() == ".npy"]
    tables = [path for path in files if path.suffix.lower() == ".csv"]
    return (
        any(path.stem == labels.stem for path in arrays)
        or len(arrays) == len(tables) == 1
        or any(path.is_dir() for path in files)
    )
