"""`Embeddings`: feature vectors with identities, cameras and names, checked when built."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import BadInput

SPLITS = ("train", "query", "gallery")
NUMBERS = "iuf"  # NumPy's letters for the kinds of real numbers


@dataclass(frozen=True, eq=False)
class Embeddings:
    """One split's embeddings and labels, checked when built.

    features: [N, d] float32 (float16, float64 and torch tensors are converted).
    pids:     [N] int64, the person of each row; negative is junk.
    camids:   [N] int64, the camera of each row; -1 everywhere means "no cameras known".
    names:    N strings, unique within a data set: the image's path below its root.

    Raises:
        BadInput: shapes that do not agree, a width below 1, NaN or infinite rows (named).
    """

    features: np.ndarray
    pids: np.ndarray
    camids: np.ndarray
    names: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        given = as_numpy(self.features)
        if given.dtype.kind not in NUMBERS:
            raise BadInput(f"embeddings must be real numbers; these are {given.dtype}")
        features = np.ascontiguousarray(given, dtype=np.float32)
        if features.ndim != 2 or features.shape[1] < 1:
            raise BadInput(f"embeddings must be [N, d]; these have the shape {features.shape}")
        rows = len(features)
        names = list(self.names) if len(self.names) else [f"{row:07d}" for row in range(rows)]
        pids, camids = integers(self.pids, "pids"), integers(self.camids, "camids")
        for what, values in (("pids", pids), ("camids", camids), ("names", names)):
            if len(values) != rows:
                raise BadInput(
                    f"{rows} embeddings but {len(values)} {what}: one for each is needed"
                )
        require_finite(features, "embeddings")
        for key, value in (("features", features), ("pids", pids), ("camids", camids)):
            object.__setattr__(self, key, value)
        object.__setattr__(self, "names", names)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def dim(self) -> int:
        """The width d of the embeddings."""
        return int(self.features.shape[1])

    @property
    def has_cameras(self) -> bool:
        """Whether camera ids are known: all -1 means that they are not."""
        return bool((self.camids >= 0).any())

    def select(self, rows: np.ndarray) -> "Embeddings":
        """Return the rows given by an index or a mask, in that order."""
        rows = np.asarray(rows)
        index = np.flatnonzero(rows) if rows.dtype == bool else rows
        names = [self.names[int(row)] for row in index]
        return Embeddings(self.features[index], self.pids[index], self.camids[index], names)

    def with_features(self, features: Any) -> "Embeddings":
        """Return the same items with other features, of any width."""
        return Embeddings(features, self.pids, self.camids, self.names)

    def without_junk(self) -> "Embeddings":
        """Return the rows whose pid is not negative."""
        return self if (self.pids >= 0).all() else self.select(self.pids >= 0)


def as_numpy(values: Any) -> np.ndarray:
    """Return a torch tensor (of any device) or anything array-like as a numpy array."""
    if hasattr(values, "detach"):
        values = values.detach()
        if values.is_floating_point() and values.element_size() < 4:  # NumPy has no bfloat16
            values = values.float()
        values = values.cpu().numpy()
    return np.asarray(values)


def integers(values: Any, what: str) -> np.ndarray:
    """Return labels as [N] int64; BadInput when they are not whole numbers in one row."""
    array = as_numpy(values)
    if array.ndim != 1:
        raise BadInput(f"{what} must be [N]; these have the shape {array.shape}")
    if len(array) and array.dtype.kind not in NUMBERS:
        raise BadInput(f"{what} must be whole numbers; these are {array.dtype}")
    if array.dtype.kind == "f" and len(array):
        exact = 2.0 ** (np.finfo(array.dtype).nmant + 1)
        if (np.abs(array) > exact).any():
            raise BadInput(
                f"{what} must be whole numbers; these are {array.dtype}, in which those above "
                f"{exact:.0f} are rounded, so that two can be one: save them as integers"
            )
    with np.errstate(invalid="ignore"):  # NaN and what is too large differ from every number
        whole = array.astype(np.int64)
    if (whole != array).any():
        raise BadInput(f"{what} must be whole numbers; row {np.argmax(whole != array)} is not")
    return np.ascontiguousarray(whole)


def require_finite(features: np.ndarray, what: str) -> None:
    """Raise BadInput naming the first rows of [N, d] that hold NaN or an infinity."""
    # A sum is finite exactly when no term is NaN or infinite, save for overflow: check those rows.
    with np.errstate(over="ignore", invalid="ignore"):
        suspect = np.flatnonzero(~np.isfinite(features.sum(axis=1)))
    rows = suspect[~np.isfinite(features[suspect]).all(axis=1)]
    if len(rows):
        listed = ", ".join(map(str, rows[:5])) + ("…" if len(rows) > 5 else "")
        raise BadInput(
            f"{len(rows)} of {len(features)} {what} hold NaN or infinite values (rows {listed}); "
            "remove them, or look at the network that made them"
        )


def row_blocks(rows: int | slice, size: int) -> Iterator[slice]:
    """Yield slices of at most `size` rows that cover so many rows or a part of them, in order."""
    part = rows if isinstance(rows, slice) else slice(0, rows)
    for start in range(part.start, part.stop, size):
        yield slice(start, min(start + size, part.stop))
