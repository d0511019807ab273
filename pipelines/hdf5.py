"""HDF5 files: read alone, where what points to others is refused; written without a crash."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .blocks import BlockedFile
from .errors import BadInput, blaming
from .files import require_file, writing_to

if TYPE_CHECKING:
    import h5py

REFERENCES = "#refs#"
MOST_OBJECTS = 10_000  # groups and datasets; our own files have a few dozen


@contextmanager
def reading(
    path: Path, *, blocks: BlockedFile | None = None, remedy: str = ""
) -> "Iterator[h5py.File]":
    """Yield an HDF5 file opened to be read.

    blocks: the file opened already, each block compared with its digest before HDF5 reads it.
    remedy: what to do about a damaged file, for the error.

    Raises:
        BadInput: no such file, no whole HDF5 file, or one that points to other files (external
            links, external storage, virtual datasets), which would be read in its place. What
            HDF5 cannot read while the block uses the file is BadInput too.
    """
    import h5py

    require_file(path, f"an HDF5 file{f' ({remedy})' if remedy else ''}")
    what = "is not a whole HDF5 file of the kind wanted"
    stream = None if blocks is None else blocks.stream()
    try:
        with (
            blaming(path, saying=f"{what}; {remedy}" if remedy else what),
            h5py.File(stream or path, "r") as file,
        ):
            _require_alone(path, file)
            yield file
    except BadInput as error:
        if stream is not None and stream.problem is not None:
            raise stream.problem from error
        raise


@contextmanager
def writing(path: Path, **layout: Any) -> "Iterator[h5py.File]":
    """Yield a new HDF5 file at `path` itself; every writer of HDF5 goes through here.

    The file is Python's: given a path, HDF5 crashes where it cannot flush (a full disk).

    Raises:
        BadInput: the disk is full, or the file cannot be written.
    """
    import h5py

    with writing_to(path) as sink, h5py.File(sink, "w", **layout) as file:
        yield file


def _require_alone(path: Path, file: "h5py.File") -> None:
    """Raise BadInput where a link or a dataset of the file stands for something outside of it."""
    import h5py

    seen: set[Any] = set()
    groups: list[h5py.Group] = [file]
    while groups:
        group = groups.pop()
        for name in group:
            link = group.get(name, getlink=True)
            where = f"{path}: {group.name.rstrip('/')}/{name}"
            if not isinstance(link, h5py.HardLink):
                raise BadInput(f"{where} is a link; data of the file's own is wanted: copy it in")
            if name == REFERENCES:
                continue  # MATLAB's cells, many; each is looked at where it is read
            item = group[name]
            key = h5py.h5o.get_info(item.id).addr
            if key in seen:
                continue
            seen.add(key)
            if len(seen) > MOST_OBJECTS:
                raise BadInput(f"{path} holds more than {MOST_OBJECTS:,} objects: not one of ours")
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif isinstance(item, h5py.Dataset):
                require_own(path, item)


def require_arrays(path: Path, group: "h5py.Group", **wanted: str) -> None:
    """Raise BadInput unless a group holds arrays of some kinds and shapes.

    wanted: NumPy's letter for a kind ("O" for text) and the axes, as in "f[N,d]"; the same axis has
            the same length in all of them, and a number is its own.
    """
    lengths: dict[str, int] = {}
    for name, text in wanted.items():
        item, axes = group.get(name), text[2:-1].split(",")
        shape = getattr(item, "shape", None) or ()
        alike = len(shape) == len(axes) and all(
            lengths.setdefault(axis, int(axis) if axis.isdigit() else size) == size
            for axis, size in zip(axes, shape, strict=True)
        )
        if not alike or item.dtype.kind != text[0]:
            found = "is not there" if item is None else f"is {getattr(item, 'dtype', 'a group')}"
            where = f"{path}: {group.name.rstrip('/')}/{name}"
            raise BadInput(f"{where} {found} {list(shape) or ''}; {text} is wanted")


def require_own(path: Path, item: "h5py.Dataset") -> None:
    """Raise BadInput where a dataset's numbers lie in other files."""
    if item.is_virtual or item.external:
        raise BadInput(f"{path}: {item.name} is stored in other files; copy the data into this one")
