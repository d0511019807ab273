"""embeddings.h5 and refined.h5: a group for each split, read and written in blocks of rows."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..embeddings import COLUMNS, SPLITS, Embeddings, require_embeddings, row_blocks
from ..errors import BadInput
from ..files import replacing
from ..flow import command_line
from ..hdf5 import reading, require_arrays, writing
from ..labels import NUMBERS, LabelNames
from .run import Run

if TYPE_CHECKING:
    import h5py

SCHEMA = 1
CHUNK_ROWS = 1024
NAMES_AT_A_TIME = 65_536
LABELLED, LABELS = "labels", ("pids", "camids")
EXACT = "features_float64"  # beside `features`, where they were imported in double precision


def load_embeddings(path: str | Path, split: str) -> Embeddings:
    """Read one split of embeddings.h5 or refined.h5.

    Raises:
        BadInput: no such file, not HDF5, another schema, no such split, or broken content.
    """
    with open_embeddings(path) as file:
        if split not in file:
            remedy = f"Import or extract the {split} images too"
            if split == "train":
                remedy += f", or bring a trained model: {command_line('import-nformer', 'FILE')}"
            there = ", ".join(splits_in(file))
            raise BadInput(f"{path} has no split {split!r}; it has {there}. {remedy}")
        group = file[split]
        names = group["names"].asstr()[:].tolist()
        columns = {name: group[name][:] for name in COLUMNS if name in group}
        return Embeddings(
            group["features"][:], group["pids"][:], group["camids"][:], names, columns
        )


def split_pids(path: str | Path, split: str) -> dict[str, int]:
    """Return the identity of each name of one split, without its features; {} where there is none.

    Raises:
        BadInput: as `load_embeddings`, but for a split or a file that is not there.
    """
    if not Path(path).exists():
        return {}
    with open_embeddings(path) as file:
        if split not in file:
            return {}
        names = file[split]["names"].asstr()[:].tolist()
        return dict(zip(names, file[split]["pids"][:].tolist(), strict=True))


def save_embeddings(
    path: str | Path,
    *,
    train: Embeddings | None = None,
    query: Embeddings | None = None,
    gallery: Embeddings | None = None,
    dataset: str = "",
    attributes: dict[str, Any] | None = None,
    labels: LabelNames = NUMBERS,
) -> Path:
    """Write the splits given to one HDF5 file, whole or not at all. Returns its path.

    Splits that are one object are written once, and the others are links to it.

    Raises:
        BadInput: no split given, one that is no Embeddings, or their widths differ.
    """
    given = dict(zip(SPLITS, (train, query, gallery), strict=True))
    splits = {name: split for name, split in given.items() if split is not None}
    require_embeddings(**splits)
    widths = {name: split.dim for name, split in splits.items()}
    if not splits:
        raise BadInput("save_embeddings needs at least one of train, query, gallery")
    if len(set(widths.values())) > 1:
        raise BadInput(f"the splits' widths differ: {widths}; one network makes one width")
    with (
        replacing(Path(path)) as temporary,
        create_embeddings(
            temporary, dim=next(iter(widths.values())), dataset=dataset, labels=labels
        ) as file,
    ):
        file.attrs.update(attributes or {})
        for name, split in splits.items():
            same = next(other for other, given in splits.items() if given is split)
            if same != name:
                file[name] = file[same]
                continue
            group = create_split(
                file,
                name,
                names=split.names,
                pids=split.pids,
                camids=split.camids,
                columns=split.columns,
            )
            group["features"][:] = split.features
    return Path(path)


def saw_training_identities(run: Run) -> bool:
    """Return whether the network of a run's embeddings was trained on their training identities.

    The run's own backbone was, where the embeddings are of the data set that it was trained on. Of
    a network from elsewhere it is not known: False.
    """
    made, trained = run.require_manifest("embeddings.h5"), run.manifest("backbone.pt")
    if "backbone.pt" not in made.inputs or trained is None:
        return False
    theirs, ours = trained.facts, made.facts
    same = theirs.get("dataset") == ours.get("dataset")
    return same and theirs.get("images", {}).get("train") == ours.get("images", {}).get("train")


def splits_in(file: "h5py.File") -> list[str]:
    """Return the splits that an open file holds, in the order train, query, gallery."""
    return [split for split in SPLITS if split in file]


@contextmanager
def open_embeddings(path: str | Path) -> Iterator["h5py.File"]:
    """Open a file of embeddings for reading; BadInput when it is not one."""
    with reading(Path(path)) as file:
        schema = file.attrs.get("schema")
        if schema != SCHEMA or not splits_in(file):
            raise BadInput(
                f"{path} holds no embeddings of ours: schema {schema}, groups {sorted(file)}; "
                f"wanted schema {SCHEMA} and one of {', '.join(SPLITS)}"
            )
        for split in splits_in(file):
            labels = {"pids": "i[N]", "camids": "i[N]", "names": "O[N]"}
            labels |= {name: "i[N]" for name in COLUMNS if name in file[split]}
            require_arrays(Path(path), file[split], features="f[N,d]", **labels)
        yield file


@contextmanager
def create_embeddings(
    path: Path, *, dim: int, dataset: str = "", labels: LabelNames = NUMBERS
) -> Iterator["h5py.File"]:
    """Create an empty file of embeddings of width `dim` for `create_split` to fill.

    labels: the names of identities and cameras that are no numbers.
    """
    import h5py

    with writing(path) as file:
        file.attrs.update({"schema": SCHEMA, "dataset": dataset, "dim": dim})
        for field in LABELS:
            if names := getattr(labels, field):
                data = np.array(list(names), object)
                file.create_dataset(f"{LABELLED}/{field}", data=data, dtype=h5py.string_dtype())
        yield file


def load_labels(path: str | Path) -> LabelNames:
    """Return the names of identities and cameras in embeddings.h5, by number."""
    with open_embeddings(path) as file:
        return labels_in(file)


def labels_in(file: "h5py.File") -> LabelNames:
    """Return the names of identities and cameras in an open file, by number."""
    found = {
        field: tuple(file[f"{LABELLED}/{field}"].asstr()[:])
        for field in LABELS
        if f"{LABELLED}/{field}" in file
    }
    return LabelNames(**found)


def create_split(
    file: "h5py.File",
    split: str,
    *,
    names: Any,
    pids: np.ndarray,
    camids: np.ndarray,
    columns: Mapping[str, np.ndarray] = MappingProxyType({}),
    exact: bool = False,
) -> "h5py.Group":
    """Add a split with its labels; the caller fills its `features` [N, dim] float32.

    names: N strings, which may come from a generator: they are never held all at once.
    columns: further labels, [N] each, by a name of COLUMNS.
    exact: add `features_float64` too, for the caller to fill: nothing but an export reads it.
    """
    import h5py

    rows, dim = len(pids), int(file.attrs["dim"])
    chunk = min(rows, CHUNK_ROWS)  # an empty split cannot be chunked
    vector, matrix = ((chunk,), (chunk, dim)) if chunk else (None, None)
    group = file.create_group(split)
    group.create_dataset("features", (rows, dim), np.float32, chunks=matrix)
    if exact:
        group.create_dataset(EXACT, (rows, dim), np.float64, chunks=matrix)
    group.create_dataset("pids", data=np.asarray(pids, np.int64), chunks=vector)
    group.create_dataset("camids", data=np.asarray(camids, np.int64), chunks=vector)
    for name, values in columns.items():
        group.create_dataset(name, data=np.asarray(values, np.int64), chunks=vector)
    stored = group.create_dataset("names", (rows,), h5py.string_dtype(), chunks=vector)
    left = iter(names)
    for block in row_blocks(rows, NAMES_AT_A_TIME):
        stored[block] = list(islice(left, block.stop - block.start))
    return group
