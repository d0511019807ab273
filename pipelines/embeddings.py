"""`Embeddings`: feature vectors with identities, cameras and names, checked when built."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import BadInput
from .labels import JUNK, same_everywhere, texts_of

SPLITS = ("train", "query", "gallery")
# Further labels that a row may have, by name: whole numbers, -1 where one is not known.
COLUMNS = ("clothes", "track", "time", "illumination", "viewpoint")
NUMBERS = "iuf"  # NumPy's letters for the kinds of real numbers


@dataclass(frozen=True, eq=False, repr=False)
class Embeddings:
    """One split's embeddings and labels, checked when built.

    All of them may be NumPy arrays, torch tensors, lists or columns of a table of pandas.

    features: [N, d] float32 (float16 and float64 are converted).
    pids:     [N] int64, the person of each row; negative is junk. None: not known, -1 everywhere.
    camids:   [N] int64, the camera of each row. None: no cameras known, -1 everywhere.
    names:    N strings, unique within a data set: the image's path below its root.
    columns:  [N] int64 each, further labels by a name of COLUMNS; -1 where one is not known.

    Identities and cameras may be text too. Whole numbers written as text are those numbers, and no
    text at all is -1. Every other text becomes a number of 2^62 or more that is made from the text
    alone: "anna" has the same one in the query and in the gallery.

    Raises:
        BadInput: shapes that do not agree, a width below 1, NaN or infinite rows (named), another
            column.
    """

    features: np.ndarray
    pids: np.ndarray = None  # type: ignore[assignment]  # an array once it is built
    camids: np.ndarray = None  # type: ignore[assignment]
    names: Sequence[str] = field(default=())
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = as_numpy(self.features, what="embeddings")
        if given.dtype.kind not in NUMBERS:
            raise BadInput(f"embeddings must be real numbers; these are {given.dtype}")
        features = np.ascontiguousarray(given, dtype=np.float32)
        if features.ndim != 2 or features.shape[1] < 1:
            raise BadInput(f"embeddings must be [N, d]; these have the shape {features.shape}")
        rows = len(features)
        given_names = () if self.names is None else self.names
        names = [str(name) for name in given_names] or [f"{row:07d}" for row in range(rows)]
        pids, camids = (
            np.full(rows, -1) if values is None else integers(values, what)
            for what, values in (("pids", self.pids), ("camids", self.camids))
        )
        columns = {name: integers(values, name) for name, values in self.columns.items()}
        if strange := sorted(set(columns) - set(COLUMNS)):
            raise BadInput(f"{strange[0]} is no column; known are {', '.join(COLUMNS)}")
        labels: dict[str, Sized] = {"pids": pids, "camids": camids, "names": names, **columns}
        for what, values in labels.items():
            if len(values) != rows:
                raise BadInput(
                    f"{rows} embeddings but {len(values)} {what}: one for each is needed"
                )
        require_finite(features, "embeddings")
        for key, value in (("features", features), ("pids", pids), ("camids", camids)):
            object.__setattr__(self, key, value)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "columns", columns)

    def __len__(self) -> int:
        return len(self.features)

    def __repr__(self) -> str:
        names = f"{self.names[0]} to {self.names[-1]}" if len(self) else "none"
        return (
            f"Embeddings of {len(self)} images, {self.dim} wide\n"
            f"identities: {_counted(self.pids)}; cameras: {_counted(self.camids)}\n"
            f"names: {names}"
        )

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
        columns = {name: values[index] for name, values in self.columns.items()}
        return Embeddings(
            self.features[index], self.pids[index], self.camids[index], names, columns
        )

    def with_features(self, features: Any) -> "Embeddings":
        """Return the same items with other features, of any width."""
        return dataclasses.replace(self, features=features)

    def without_junk(self) -> "Embeddings":
        """Return the rows whose pid is not negative."""
        return self if (self.pids >= 0).all() else self.select(self.pids >= 0)


def _counted(labels: np.ndarray) -> str:
    """Return how many labels there are, and how many rows have none."""
    without = int((labels < 0).sum())
    known = len(np.unique(labels[labels >= 0]))
    return f"{known}" + (f" ({without} rows without)" if without else "") if known else "not known"


def require_embeddings(**items: Any) -> None:
    """Raise BadInput for the first of the arguments, given by their names, that is another kind."""
    for name, given in items.items():
        if not isinstance(given, Embeddings):
            raise BadInput(
                f"{name} is {kind_of(given)}; Embeddings are wanted, features with their labels: "
                "Embeddings(features, pids, camids)"
            )


def kind_of(given: Any) -> str:
    """Return what a value is, in a few words: an ndarray of the shape [3, 2], a str ('x')."""
    kind = type(given).__name__
    article = "an" if kind[:1].lower() in "aeio" or kind == "ndarray" else "a"
    if isinstance(given, str | int | float):
        return f"{article} {kind} ({given!r})"
    shape = getattr(given, "shape", None)
    return f"{article} {kind}" + (f" of the shape {list(shape)}" if shape is not None else "")


def as_numpy(values: Any, *, what: str = "the values") -> np.ndarray:
    """Return a tensor (of any device), a list of them, or anything array-like as a numpy array.

    Raises:
        BadInput: rows of different lengths; what: their name in that sentence.
    """
    if hasattr(values, "detach"):
        values = values.detach()
        if values.is_floating_point() and values.element_size() < 4:  # NumPy has no bfloat16
            values = values.float()
        values = values.cpu().numpy()
    if isinstance(values, list | tuple) and any(hasattr(value, "detach") for value in values):
        values = [as_numpy(value) for value in values]
    try:
        array = np.asarray(values)
        # pandas keeps text, and rows that are lists, as objects
        return np.array(array.tolist()) if array.dtype == object else array
    except ValueError as error:
        raise BadInput(f"{what} are of different lengths: all rows must have one") from error


def integers(values: Any, what: str) -> np.ndarray:
    """Return labels as [N] int64; what is NaN, as in a table with gaps, is -1, but of identities.

    Raises:
        BadInput: no whole numbers; an identity that is NaN; text, but of a single row.
    """
    array = as_numpy(values, what=what)
    if array.ndim != 1:
        raise BadInput(f"{what} must be [N]; these have the shape {array.shape}")
    texts = texts_of(array)
    if texts is not None:
        return same_everywhere(texts, what)
    if len(array) and array.dtype.kind not in NUMBERS:
        raise BadInput(f"{what} must be whole numbers; these are {array.dtype}")
    if array.dtype.kind == "f" and len(array):
        gaps = np.isnan(array)
        if what == "pids" and gaps.any():
            row = int(np.argmax(gaps))
            raise BadInput(f"row {row} has no identity (NaN); -1 stands for nobody")
        array = np.where(gaps, array.dtype.type(JUNK), array)
        exact = 2.0 ** (np.finfo(array.dtype).nmant + 1)
        if (np.abs(array) > exact).any():
            raise BadInput(
                f"{what} must be whole numbers; these are {array.dtype}, in which those above "
                f"{exact:.0f} are rounded, so that two can be one: save them as integers"
            )
    with np.errstate(invalid="ignore"):  # an infinity and what is too large differ from all
        whole = array.astype(np.int64)
    if (whole != array).any():
        row = int(np.argmax(whole != array))
        raise BadInput(f"{what} must be whole numbers; row {row} is {array[row]:g}")
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
