""".mat with `{query,gallery,train}_{f,label,cam}`: version 5 through SciPy, 7.3 through h5py."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...embeddings import row_blocks
from ...errors import BadInput
from ...hdf5 import reading, require_own
from ...probe import require_readable
from .hdf5_files import Hdf5File
from .keys import Warn
from .split import FileSplit, rows_per_block, splits_of

V5_TYPES = {"single": "float32", "double": "float64"}


def read_mat(path: Path, warn: Warn, *, labelled: bool) -> list[FileSplit]:
    """Read a .mat as the field's evaluation scripts write it; either orientation of the features.

    Labels may be [N], [1, N] or [N, 1].
    """
    import h5py

    newer = h5py.is_hdf5(path)
    if not newer:
        require_readable(path, "mat")
    file = MatFile73(path) if newer else MatFile5(path)
    return splits_of(file, warn, labelled=labelled, columns=newer, what="variables")


class MatFile5:
    """A .mat up to version 7: its variables are at most 2 GiB each, and read one by one."""

    def __init__(self, path: Path) -> None:
        from scipy.io import whosmat

        self.path = path
        self.variables = {name: (shape, kind) for name, shape, kind in whosmat(str(path))}

    def keys(self) -> list[str]:
        """Return the variables' names."""
        return list(self.variables)

    def shape(self, key: str) -> tuple[int, ...]:
        """Return a variable's shape."""
        shape, kind = self.variables[key]
        return tuple(shape[:-1] if kind == "char" else shape)

    def dtype(self, key: str) -> str:
        """Return a variable's type of numbers."""
        kind = self.variables[key][1]
        return V5_TYPES.get(kind, kind)

    def whole(self, key: str) -> np.ndarray:
        """Return a variable as MATLAB shapes it, cells of text as text."""
        from scipy.io import loadmat

        array = np.asarray(loadmat(str(self.path), variable_names=[key])[key])
        if np.iscomplexobj(array):
            raise BadInput(f"{self.path}: {key} is complex; real numbers are wanted")
        return np.array(list(_cells(array))) if array.dtype == object else array

    def rows(self, key: str, *, turned: bool) -> Iterator[np.ndarray]:
        """Yield the rows of a matrix or of its transpose."""
        features = np.atleast_2d(self.whole(key))
        features = features.T if turned else features
        for block in row_blocks(len(features), rows_per_block(features[:1].nbytes)):
            yield np.ascontiguousarray(features[block])

    def texts(self, key: str) -> Iterator[str]:
        """Yield the text of a cell array, or of a matrix of characters."""
        return map(str, self.whole(key).ravel())


def _cells(array: np.ndarray) -> Iterator[str]:
    for cell in array.ravel():
        yield str(np.asarray(cell).item() if np.size(cell) else "")


class MatFile73(Hdf5File):
    """A .mat of version 7.3, which is HDF5: shapes stand reversed in it."""

    def texts(self, key: str) -> Iterator[str]:
        """Yield the text of a cell array, whose cells are references to arrays of UTF-16."""
        import h5py

        with reading(self.path) as file:
            for reference in file[self.found[key][0]][()].ravel():
                if not isinstance(reference, h5py.Reference):
                    raise BadInput(f"{self.path}: {key} is no cell array of text")
                require_own(self.path, file[reference])
                units = np.asarray(file[reference][()], np.uint16).ravel()
                yield units.astype("<u2").tobytes().decode("utf-16-le")

    def whole(self, key: str) -> np.ndarray:
        """Return a variable; cells of text as text."""
        array = super().whole(key)
        return np.array(list(self.texts(key))) if array.dtype == object else array
