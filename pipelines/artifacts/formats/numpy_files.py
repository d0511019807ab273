""".npz and .npy: read as a stream, never whole, and never as pickled objects."""

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from ...embeddings import row_blocks
from ...errors import BadInput, blaming
from ...files import named_disk_errors
from .keys import Warn
from .split import FileSplit, rows_per_block, splits_of


@dataclass(frozen=True)
class StoredArray:
    """An array in .npy format inside some file: its header read, its items on demand."""

    what: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    open: Callable[[], AbstractContextManager[IO[bytes]]]  # positioned behind the header

    def turned(self) -> "StoredArray":
        """Return the array [d, N] as [N, d]: its rows are the other's columns."""
        return replace(self, shape=self.shape[::-1], fortran=not self.fortran)

    def as_rows(self) -> "StoredArray":
        """Return a lone vector [d] as [1, d]."""
        return self if len(self.shape) != 1 else replace(self, shape=(1, *self.shape))

    def items(self) -> Iterator[np.ndarray]:
        """Yield the array in blocks along its first axis."""
        with self.open() as stream:
            yield from self._fortran_rows(stream) if self.fortran else self._rows(stream)

    def whole(self) -> np.ndarray:
        """Return the array, read at once (for labels)."""
        return np.concatenate(list(self.items())) if self.shape[0] else np.empty(0, self.dtype)

    def _rows(self, stream: IO[bytes]) -> Iterator[np.ndarray]:
        width = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        for block in row_blocks(self.shape[0], rows_per_block(width)):
            rows = block.stop - block.start
            content = stream.read(rows * width)
            if len(content) != rows * width:
                raise BadInput(f"{self.what} is truncated: it ends within row {block.start} and on")
            yield np.frombuffer(content, self.dtype).reshape(rows, *self.shape[1:])

    def _fortran_rows(self, stream: IO[bytes]) -> Iterator[np.ndarray]:
        # Stored column after column: rows need the whole, which lies on the disk meanwhile.
        with tempfile.TemporaryFile() as spool:
            with named_disk_errors(Path(tempfile.gettempdir())):
                shutil.copyfileobj(stream, spool, 1 << 20)
                spool.flush()
            columns = np.memmap(spool, self.dtype, "r", shape=self.shape, order="F")
            width = int(np.prod(self.shape[1:])) * self.dtype.itemsize
            for block in row_blocks(self.shape[0], rows_per_block(width)):
                yield np.ascontiguousarray(columns[block])


def read_npz(path: Path, warn: Warn, *, labelled: bool) -> list[FileSplit]:
    """Read `{train,query,gallery}_{features,pids,camids,names}` from an .npz, packed or not."""
    return splits_of(NpzFile(path), warn, labelled=labelled)


class NpzFile:
    """The arrays of an .npz; the header of each is read when it is first asked for."""

    def __init__(self, path: Path) -> None:
        self.path, self.read = path, dict[str, StoredArray]()

    def keys(self) -> list[str]:
        """Return the arrays' names."""
        with zipfile.ZipFile(self.path) as archive:
            names = archive.namelist()
        if len(set(names)) < len(names):
            twice = next(name for name in sorted(names) if names.count(name) > 1)
            raise BadInput(f"{self.path} holds {twice} more than once; one of them is wanted")
        return [name.removesuffix(".npy") for name in names if name.endswith(".npy")]

    def _array(self, key: str) -> StoredArray:
        if key not in self.read:
            self.read[key] = member(self.path, key)
        return self.read[key]

    def shape(self, key: str) -> tuple[int, ...]:
        """Return an array's shape."""
        return self._array(key).shape

    def dtype(self, key: str) -> str:
        """Return an array's type of numbers."""
        return self._array(key).dtype.name

    def whole(self, key: str) -> np.ndarray:
        """Return an array."""
        return self._array(key).whole()

    def rows(self, key: str, *, turned: bool) -> Iterator[np.ndarray]:
        """Yield the rows of a matrix or of its transpose."""
        array = self._array(key).as_rows()
        return (array.turned() if turned else array).items()

    def texts(self, key: str) -> Iterator[str]:
        """Yield the items of an array of text."""
        array = self._array(key)
        if array.dtype.kind not in "US" or len(array.shape) != 1:
            raise BadInput(f"{array.what}: names must be [N] text; these are {array.dtype}")
        for block in array.items():
            for item in block.tolist():
                yield item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else item


def member(path: Path, key: str) -> StoredArray:
    """Return one array of an .npz, its header read and its size checked."""

    @contextmanager
    def open_behind(header: int) -> Iterator[IO[bytes]]:
        with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as stream:
            stream.read(header)
            yield stream

    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo(f"{key}.npy").file_size
        with archive.open(f"{key}.npy") as stream:
            return stored_array(f"{path}, {key}", stream, size=size, open_behind=open_behind)


def npy(path: Path) -> StoredArray:
    """Return the array of an .npy file, its header read and its size checked."""

    @contextmanager
    def open_behind(header: int) -> Iterator[IO[bytes]]:
        with path.open("rb") as stream:
            stream.seek(header)
            yield stream

    with path.open("rb") as stream:
        return stored_array(str(path), stream, size=path.stat().st_size, open_behind=open_behind)


def stored_array(
    what: str,
    stream: IO[bytes],
    *,
    size: int,
    open_behind: Callable[[int], AbstractContextManager[IO[bytes]]],
) -> StoredArray:
    """Read the header that `stream` begins with; `size` is what header and array take together."""
    with blaming(what, saying="is not an array in .npy format"):
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise BadInput(
            f"{what} holds Python objects, which are never read (they could run code); save names "
            "with np.array(names, dtype=str) and numbers as numbers"
        )
    header, expected = stream.tell(), int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size - header != expected:
        raise BadInput(
            f"{what} is truncated or damaged: {size - header} bytes for the shape {shape} of "
            f"{dtype}, which takes {expected}"
        )
    if len(shape) == 0:
        raise BadInput(f"{what} is a single value; an array with a row for each image is wanted")
    return StoredArray(what, shape, dtype, fortran and len(shape) > 1, lambda: open_behind(header))
