""".h5 of ours and of others: datasets `{split}/{field}` or `{split}_{field}`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...embeddings import row_blocks
from ...hdf5 import REFERENCES, reading
from ...probe import require_readable
from ..embeddings import EXACT, LABELLED, LABELS, NAMES_AT_A_TIME
from .keys import Warn
from .split import FileSplit, rows_per_block, splits_of

if TYPE_CHECKING:
    import h5py


def read_h5(path: Path, warn: Warn, *, labelled: bool) -> list[FileSplit]:
    """Read a file of our own schema, or another program's with a dataset for each field."""
    file = Hdf5File(path)  # which refuses what points elsewhere
    require_readable(path, "h5")
    return splits_of(file, warn, labelled=labelled)


class Hdf5File:
    """The datasets of an HDF5 file, in it or in its groups, by name: query/pids is query_pids."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path) as file:
            self.found = self._datasets(file)
            self.named = {  # our own files: the names of labels, by number
                field: file[self.found.pop(key)[0]].asstr()[:].astype(str)
                for field in LABELS
                if (key := f"{LABELLED}_{field}") in self.found
            }

    def _datasets(self, file: "h5py.File") -> dict[str, tuple[str, tuple[int, ...], str]]:
        """Return each dataset's place in the file, its shape and its type of numbers."""
        places = [name for name in file if name != REFERENCES]
        for group in [name for name in places if hasattr(file[name], "keys")]:
            places += [f"{group}/{name}" for name in file[group]]
        found = {}
        for place in places:
            item, key = file[place], place.replace("/", "_").replace(EXACT, "features")
            if hasattr(item, "dtype") and (key not in found or place.endswith(EXACT)):
                found[key] = (place, item.shape or (), item.dtype.name)
        return found

    def keys(self) -> list[str]:
        """Return the datasets' names."""
        return list(self.found)

    def shape(self, key: str) -> tuple[int, ...]:
        """Return a dataset's shape."""
        return self.found[key][1]

    def dtype(self, key: str) -> str:
        """Return a dataset's type of numbers."""
        return self.found[key][2]

    def whole(self, key: str) -> np.ndarray:
        """Return a dataset: numbers, or text."""
        import h5py

        with reading(self.path) as file:
            stored = file[self.found[key][0]]
            text = h5py.check_string_dtype(stored.dtype) is not None
            values = stored.asstr()[()].astype(str) if text else stored[()]
        names = self.named.get(key.rpartition("_")[2])
        if names is None or values.dtype.kind not in "iu" or not len(names):
            return values
        known = (values >= 0) & (values < len(names))
        return np.where(known, names[np.where(known, values, 0)], values.astype(str))

    def rows(self, key: str, *, turned: bool) -> Iterator[np.ndarray]:
        """Yield the rows of a matrix or of its transpose."""
        with reading(self.path) as file:
            features = file[self.found[key][0]]
            if features.ndim == 1:
                yield features[()][None]
                return
            rows, width = features.shape[::-1] if turned else features.shape
            for block in row_blocks(rows, rows_per_block(width * features.dtype.itemsize)):
                yield np.ascontiguousarray(features[:, block].T if turned else features[block])

    def texts(self, key: str) -> Iterator[str]:
        """Yield the items of a dataset of text."""
        with reading(self.path) as file:
            names = file[self.found[key][0]].asstr()
            for block in row_blocks(len(names), NAMES_AT_A_TIME):
                yield from names[block].tolist()
