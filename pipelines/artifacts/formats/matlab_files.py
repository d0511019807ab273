""".mat with `{query,gallery,train}_{f,label,cam}`: version 5 through SciPy, 7.3 through h5py."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...embeddings import SPLITS, row_blocks
from ...errors import BadInput
from ...hdf5 import reading, require_own
from .probe import require_readable
from .split import FileSplit, Warn, checked_split, rows_per_block

FIELDS = {"f": "features", "label": "pids", "cam": "camids", "name": "names"}
V5_TYPES = {"single": "float32", "double": "float64"}


def read_mat(path: Path, warn: Warn) -> list[FileSplit]:
    """Read a .mat as the field's evaluation scripts write it; either orientation of the features.

    Labels may be [N], [1, N] or [N, 1]. Features stored [d, N] are recognised by the labels'
    number and turned; a square matrix is read as the file's other splits are.
    """
    import h5py

    with _named_damage(path):
        newer = h5py.is_hdf5(path)
        if not newer:
            require_readable(path, "mat")
        file: MatFile5 | MatFile73 = MatFile73(path) if newer else MatFile5(path)
        shapes = file.shapes()
    keys = {f"{split}_{short}": (split, short) for split in SPLITS for short in FIELDS}
    found = sorted({keys[name][0] for name in shapes if name in keys}, key=SPLITS.index)
    if not found:
        raise BadInput(
            f"{path} has no embeddings: its variables are {', '.join(sorted(shapes)) or 'none'}; "
            "wanted query_f, query_label, query_cam, gallery_f, gallery_label, gallery_cam"
        )
    unknown = sorted(set(shapes) - set(keys))
    if unknown:
        warn(f"{path}: ignored {', '.join(unknown)}")
    for split in found:
        for short in ("f", "label"):
            if f"{split}_{short}" not in shapes:
                raise BadInput(
                    f"{path} has {split} but no {split}_{short}: missing, or the file is truncated"
                )
    turned = _turned(path, found, shapes=shapes, default=newer)
    return [_split(path, file, split=split, shapes=shapes, turned=turned[split]) for split in found]


def _turned(
    path: Path, splits: list[str], *, shapes: dict[str, tuple[int, ...]], default: bool
) -> dict[str, bool]:
    """Return for each split whether its features are stored [d, N], judged by its labels."""
    certain: dict[str, bool] = {}
    for split in splits:
        shape, rows = shapes[f"{split}_f"], int(np.prod(shapes[f"{split}_label"]))
        if len(shape) != 2 or rows not in shape:
            raise BadInput(
                f"{path}, split {split}: the features have the shape {shape} but there are {rows} "
                "labels: one for each row is needed"
            )
        if shape[0] != shape[1]:
            certain[split] = shape[1] == rows
    votes = set(certain.values())
    unsure = votes.pop() if len(votes) == 1 else default
    return {split: certain.get(split, unsure) for split in splits}


def _split(
    path: Path,
    file: "MatFile5 | MatFile73",
    *,
    split: str,
    shapes: dict[str, tuple[int, ...]],
    turned: bool,
) -> FileSplit:
    shape = shapes[f"{split}_f"]
    name = f"{split}_name"
    with _named_damage(path):
        return checked_split(
            path,
            split,
            shape=(shape[1], shape[0]) if turned else shape,
            dtype=file.dtype(f"{split}_f"),
            blocks=partial(_guarded, path, partial(file.rows, f"{split}_f", turned=turned)),
            pids=file.whole(f"{split}_label"),
            camids=file.whole(f"{split}_cam") if f"{split}_cam" in shapes else None,
            names=partial(_guarded, path, partial(file.names, name)) if name in shapes else None,
            names_count=int(np.prod(shapes[name])) if name in shapes else None,
        )


class MatFile5:
    """A .mat up to version 7: its variables are at most 2 GiB each, and read one by one."""

    def __init__(self, path: Path) -> None:
        from scipy.io import whosmat

        self.path = path
        self.variables = {name: (shape, kind) for name, shape, kind in whosmat(str(path))}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return every variable's shape."""
        return {name: tuple(shape) for name, (shape, _) in self.variables.items()}

    def dtype(self, name: str) -> str:
        """Return a variable's number type."""
        kind = self.variables[name][1]
        return V5_TYPES.get(kind, kind)

    def whole(self, name: str) -> np.ndarray:
        """Return a variable as MATLAB shapes it."""
        from scipy.io import loadmat

        array = np.asarray(loadmat(str(self.path), variable_names=[name])[name])
        if np.iscomplexobj(array):
            raise BadInput(f"{self.path}: {name} is complex; real numbers are wanted")
        return array

    def rows(self, name: str, *, turned: bool) -> Iterator[np.ndarray]:
        """Yield the features row by row, [n, d] a block."""
        features = self.whole(name)
        features = features.T if turned else features
        for block in row_blocks(len(features), rows_per_block(features[:1].nbytes)):
            yield np.ascontiguousarray(features[block])

    def names(self, name: str) -> Iterator[str]:
        """Yield the text of a cell array."""
        for cell in self.whole(name).ravel():
            yield str(np.asarray(cell).item() if np.size(cell) else "")


class MatFile73:
    """A .mat of version 7.3, which is HDF5: shapes stand reversed in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _read(self, use: Callable[[Any], Any]) -> Any:
        with reading(self.path) as file:
            return use(file)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return every variable's shape as HDF5 has it: the reverse of MATLAB's."""
        import h5py

        return self._read(
            lambda file: {
                name: file[name].shape for name in file if isinstance(file[name], h5py.Dataset)
            }
        )

    def dtype(self, name: str) -> str:
        """Return a variable's number type."""
        return self._read(lambda file: file[name].dtype.name)

    def whole(self, name: str) -> np.ndarray:
        """Return a variable as HDF5 shapes it."""
        return self._read(lambda file: file[name][()])

    def rows(self, name: str, *, turned: bool) -> Iterator[np.ndarray]:
        """Yield the features row by row, [n, d] a block."""
        with reading(self.path) as file:
            features = file[name]
            rows, width = features.shape[::-1] if turned else features.shape
            for block in row_blocks(rows, rows_per_block(width * features.dtype.itemsize)):
                yield np.ascontiguousarray(features[:, block].T if turned else features[block])

    def names(self, name: str) -> Iterator[str]:
        """Yield the text of a cell array, whose cells are references to arrays of UTF-16."""
        import h5py

        with reading(self.path) as file:
            for reference in file[name][()].ravel():
                if not isinstance(reference, h5py.Reference):
                    raise BadInput(f"{self.path}: {name} is no cell array of text")
                require_own(self.path, file[reference])
                units = np.asarray(file[reference][()], np.uint16).ravel()
                yield units.astype("<u2").tobytes().decode("utf-16-le")


def _guarded(path: Path, items: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    with _named_damage(path):
        yield from items()


@contextmanager
def _named_damage(path: Path) -> Iterator[None]:
    from scipy.io.matlab import MatReadError

    try:
        yield
    except (
        *(MatReadError, zlib.error, EOFError, OSError, ValueError, TypeError, KeyError),
        NotImplementedError,
    ) as error:
        raise BadInput(f"{path} is no whole .mat file ({error})") from error
