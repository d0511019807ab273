"""Write splits of embeddings as .npz, .npy + .csv, .parquet, .mat or .faiss, in blocks of rows."""

import csv
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...embeddings import COLUMNS
from ...errors import BadInput
from ...files import replacing
from ...labels import JUNK
from ...neighbours.faiss_indexes import numbered
from ...neighbours.nearest import require_faiss
from .parquet_files import require_pyarrow
from .split import FileSplit

MAT_BYTES = 1 << 31  # the largest variable of a version 5 .mat
LABELS_AT_A_TIME = 65_536
DAWN = (1980, 1, 1, 0, 0, 0)  # of zip: the same content makes the same file

Advance = Callable[[int], None]


def write_embedding_files(
    path: Path, splits: Sequence[FileSplit], *, format: str, dtype: str, advance: Advance
) -> list[Path]:
    """Write the splits in a format of `FORMATS`; returns the files written.

    Raises:
        BadInput: a .mat of 2 GiB or more, no pyarrow, no faiss, no space.
    """
    names = files_of(path, format)
    with ExitStack() as stack:
        temporaries = [stack.enter_context(replacing(name)) for name in names]
        WRITERS[format](temporaries, splits, dtype=np.dtype(dtype), advance=advance)
    return names


def format_of(path: Path, format: str) -> str:
    """Return the format asked for, or that of the name's ending for "auto"; BadInput for others."""
    found = path.suffix.lower().removeprefix(".") if format == "auto" else format
    if found not in WRITERS:
        what = f"--format {format}" if format != "auto" else f"{path}: {path.suffix or 'no ending'}"
        raise BadInput(
            f"{what} is no kind of file that is written; wanted {', '.join(WRITERS)}, as --format "
            "or as the name's ending"
        )
    return found


def files_of(path: Path, format: str) -> list[Path]:
    """Return the files that a format takes: labels stand in a table beside some."""
    return [path, path.with_suffix(".csv")] if format in WITH_TABLE else [path]


def _blocks(split: FileSplit, dtype: np.dtype, *, advance: Advance) -> Iterator[np.ndarray]:
    for block in split.blocks():
        yield block.astype(dtype)
        advance(len(block))


def _texts(split: FileSplit) -> Iterator[str]:
    assert split.names is not None  # our own files always have names
    return split.names()


def _has_cameras(splits: Sequence[FileSplit]) -> bool:
    known = (split.camids.astype(str) for split in splits if split.camids is not None)
    return any(bool((camids != "-1").any()) for camids in known)


def _npz(
    paths: list[Path], splits: Sequence[FileSplit], *, dtype: np.dtype, advance: Advance
) -> None:
    cameras = _has_cameras(splits)
    with zipfile.ZipFile(paths[0], "w") as archive:
        for split in splits:
            shape = (len(split), split.dim)
            with _entry(archive, f"{split.split}_features") as stream:
                _header(stream, dtype=dtype, shape=shape)
                for block in _blocks(split, dtype, advance=advance):
                    stream.write(block.tobytes())
            for what, labels in (("pids", split.pids), ("camids", split.camids)):
                if what == "pids" or cameras:
                    with _entry(archive, f"{split.split}_{what}") as stream:
                        np.lib.format.write_array(stream, np.asarray(labels))
            for name, values in split.columns.items():
                with _entry(archive, f"{split.split}_{name}") as stream:
                    np.lib.format.write_array(stream, values)
            with _entry(archive, f"{split.split}_names") as stream:
                _write_names(stream, split)


def _write_names(stream: IO[bytes], split: FileSplit) -> None:
    text = np.dtype(f"<U{max(map(len, _texts(split)))}")
    _header(stream, dtype=text, shape=(len(split),))
    left = _texts(split)
    while names := list(islice(left, LABELS_AT_A_TIME)):
        stream.write(np.array(names, text).tobytes())


def _entry(archive: zipfile.ZipFile, key: str) -> IO[bytes]:
    return archive.open(zipfile.ZipInfo(f"{key}.npy", DAWN), "w", force_zip64=True)


def _header(stream: IO[bytes], *, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(
        stream,
        {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": shape,
        },
    )


def _npy_and_csv(
    paths: list[Path], splits: Sequence[FileSplit], *, dtype: np.dtype, advance: Advance
) -> None:
    with paths[0].open("wb") as stream:
        _header(stream, dtype=dtype, shape=(sum(map(len, splits)), splits[0].dim))
        for split in splits:
            for block in _blocks(split, dtype, advance=advance):
                stream.write(block.tobytes())
    _write_table(paths[1], splits)


def _faiss(
    paths: list[Path], splits: Sequence[FileSplit], *, dtype: np.dtype, advance: Advance
) -> None:
    blocks = (block for split in splits for block in _blocks(split, dtype, advance=advance))
    content = numbered(require_faiss("a FAISS index"), blocks, width=splits[0].dim)
    paths[0].write_bytes(content.data)
    _write_table(paths[1], splits)


def _write_table(path: Path, splits: Sequence[FileSplit]) -> None:
    """Write a line of path,pid,camid,split for each row, in order."""
    cameras, columns = _has_cameras(splits), _columns(splits)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "pid", *(["camid"] if cameras else []), "split", *columns])
        for split in splits:
            labels = (split.pids, _cameras(split), *_values(split, columns))
            for name, pid, camid, *more in zip(_texts(split), *labels, strict=True):
                table.writerow([name, pid, *([camid] if cameras else []), split.split, *more])


def _columns(splits: Sequence[FileSplit]) -> list[str]:
    """Return the names of the further labels that some split has."""
    return [name for name in COLUMNS if any(name in split.columns for split in splits)]


def _values(split: FileSplit, columns: Sequence[str]) -> list[np.ndarray]:
    """Return the further labels of a split, -1 where it has none."""
    unknown = np.full(len(split), JUNK)
    return [split.columns.get(name, unknown) for name in columns]


def _cameras(split: FileSplit) -> np.ndarray:
    return np.full(len(split), -1) if split.camids is None else split.camids


def _parquet(
    paths: list[Path], splits: Sequence[FileSplit], *, dtype: np.dtype, advance: Advance
) -> None:
    parquet = require_pyarrow()
    import pyarrow as pa

    number, cameras = pa.from_numpy_dtype(dtype), _has_cameras(splits)
    fields = [("path", pa.string()), ("pid", _kind(pa, splits[0].pids))]
    fields += [("camid", _kind(pa, _cameras(splits[0])))] if cameras else []
    more = _columns(splits)
    fields += [("split", pa.string()), *((name, pa.int64()) for name in more)]
    fields += [("features", pa.list_(number, splits[0].dim))]
    schema = pa.schema(fields)
    with parquet.ParquetWriter(paths[0], schema) as table:
        for split in splits:
            start, names = 0, _texts(split)
            for block in _blocks(split, dtype, advance=advance):
                rows = slice(start, start + len(block))
                start += len(block)
                columns = [list(islice(names, len(block))), split.pids[rows]]
                columns += [_cameras(split)[rows]] if cameras else []
                columns += [[split.split] * len(block)]
                columns += [values[rows] for values in _values(split, more)]
                lists = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), split.dim)
                table.write_batch(pa.record_batch([*map(pa.array, columns), lists], schema=schema))


def _kind(pa: Any, labels: np.ndarray) -> Any:
    return pa.string() if labels.dtype.kind == "U" else pa.int64()


def _mat(
    paths: list[Path], splits: Sequence[FileSplit], *, dtype: np.dtype, advance: Advance
) -> None:
    from scipy.io import savemat

    cameras, content = _has_cameras(splits), {}
    for split in splits:
        size = len(split) * split.dim * dtype.itemsize
        if size >= MAT_BYTES:
            raise BadInput(
                f"{split.split} takes {size / 2**30:.1f} GiB and a .mat holds less than 2; write "
                ".npz or .parquet"
            )
        content[f"{split.split}_f"] = np.concatenate(list(_blocks(split, dtype, advance=advance)))
        content[f"{split.split}_label"] = _as_matlab(split.pids)
        if cameras:
            content[f"{split.split}_cam"] = _as_matlab(_cameras(split))
        content |= {f"{split.split}_{name}": values for name, values in split.columns.items()}
        content[f"{split.split}_name"] = np.array(list(_texts(split)), object)
    savemat(str(paths[0]), content, oned_as="row", appendmat=False)


def _as_matlab(labels: np.ndarray) -> np.ndarray:
    return labels.astype(object) if labels.dtype.kind == "U" else labels


WRITERS = {
    "npz": _npz,
    "npy": _npy_and_csv,
    "parquet": _parquet,
    "mat": _mat,
    "faiss": _faiss,
}
WITH_TABLE = ("npy", "faiss")
