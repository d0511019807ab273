"""Within-class covariance whitening: all directions vary equally within a person (`whiten`).

Within-class covariance normalisation (WCCN; Hatch, Kajarekar and Stolcke, Interspeech 2006). From
training identities, W is the covariance of embeddings around their identity's mean; it is shrunk
towards its mean eigenvalue, W' = (1 − γ) W + γ tr(W)/d I (Ledoit and Wolf, 2004), and every
embedding, centred, is multiplied by W'^(−1/2). Directions in which identities do not differ may
then be scaled down (shaping), as in probabilistic linear discriminant analysis. Arrays are
numpy's or torch's.

Cost: O(T d² + d³) for T training embeddings, O((Q + G) d²) to apply.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..embeddings import Embeddings
from ..errors import BadInput
from ..neighbours.checked import unit_rows
from ..neighbours.graph import Neighbourhoods
from ..neighbours.reciprocity import library_of
from .base import Pair, RefineProtocol, both_rows, with_rows
from .centring import mean_row

SAME = 1e-12  # variance of unit rows below which they are the same but for rounding
NEGLIGIBLE = 1e-10  # of the largest variance


@dataclass(frozen=True, eq=False)
class Whitening:
    """What centred rows are multiplied by: numbers along some directions, one number along others.

    directions: [d, r] float64, orthonormal; None: they are the first r coordinates.
    gains: [r], along these.   floor: along all others.
    shapes: [d, p], orthonormal, of rows so whitened; None: no shaping.   scales: [p], along these.
    rest: along all others.
    """

    directions: Any
    gains: Any
    floor: float
    shapes: Any = None
    scales: Any = None
    rest: float = 1.0

    def apply(self, rows: Any) -> Any:
        """Return centred rows [N, d] whitened, of the kind of float they are."""
        if self.directions is None:
            gains = library_of(rows).full_like(rows[0], self.floor)
            gains[: len(self.gains)] = self.gains
            found = rows * gains
        else:
            found = _scaled(rows, self.directions, gains=self.gains, rest=self.floor)
        if self.shapes is None:
            return found
        return _scaled(found, self.shapes, gains=self.scales, rest=self.rest)


def _scaled(rows: Any, directions: Any, *, gains: Any, rest: float) -> Any:
    """Multiply rows [N, d] by gains [r] along directions [d, r] and by `rest` along all others."""
    kind, library = rows.dtype, library_of(rows)
    along, gains = library.asarray(directions, dtype=kind), library.asarray(gains, dtype=kind)
    return rest * rows + ((rows @ along) * (gains - rest)) @ along.T


@dataclass(frozen=True, eq=False)
class Scatter:
    """How rows differ within identities and between them. All arrays are of one library.

    variance: [r] float64, of the directions [d, r] in which identities vary within themselves;
              directions None: they are the first r coordinates.
    persons:  [P, d] float64, each identity's mean row.   per_person: the mean of 1/(its rows).
    width:    of the embeddings; d may be less where rows stand in coordinates of their own span.
    """

    variance: Any
    directions: Any
    persons: Any
    per_person: float
    width: int
    _differing: dict[float, tuple[Any, Any]] = field(default_factory=dict)

    @staticmethod
    def of(rows: Any, labels: Any, *, width: int | None = None) -> "Scatter":
        """Measure centred rows [N, d] float64 of identities numbered from 0, each with a row."""
        counts = library_of(labels).bincount(labels)
        persons = library_of(rows).zeros_like(rows[: len(counts)])
        if isinstance(rows, np.ndarray):
            np.add.at(persons, labels, rows)
        else:
            persons.index_add_(0, labels, rows)
        persons /= counts[:, None]
        squares, directions = _principal(rows - persons[labels])
        variance = squares / max(len(rows) - len(counts), 1)
        width = rows.shape[1] if width is None else width
        return Scatter(variance, directions, persons, float((1.0 / counts).mean()), width)

    def in_own_directions(self) -> tuple[Any, "Scatter"]:
        """Return a rotation [d, d] and the scatter of rows turned by it, which whiten cheaply."""
        basis = library_of(self.persons).linalg.qr(self.directions, mode="complete")[0]
        return basis, replace(self, directions=None, persons=self.persons @ basis, _differing={})

    def differing(self, white: Whitening, *, shrinkage: float) -> tuple[Any, Any]:
        """Return the squares' sums [p] of whitened identities' means along directions [d, p]."""
        if shrinkage not in self._differing:
            self._differing[shrinkage] = _principal(white.apply(self.persons))
        return self._differing[shrinkage]


def _principal(rows: Any) -> tuple[Any, Any]:
    """Return the squares' sums [r] of rows along their principal directions, and these [d, r].

    Through [N, N] where there are fewer rows than numbers.
    """
    eigh = library_of(rows).linalg.eigh
    if len(rows) >= rows.shape[1]:
        squares, directions = eigh(rows.T @ rows)
        return squares.clip(0), directions
    squares, left = eigh(rows @ rows.T)
    kept = squares > NEGLIGIBLE * max(float(squares[-1]), 1e-30)
    return squares[kept], rows.T @ left[:, kept] / squares[kept] ** 0.5


def fit_whitening(scatter: Scatter, *, shrinkage: float, between: float = 0.0) -> Whitening | None:
    """Return the whitening of a scatter; None where identities do not vary within themselves.

    shrinkage: γ of ((1 − γ) W + γ tr(W)/d I)^(−1/2), W being the within-identity covariance.
    between:   then each direction is scaled by √((b + c·b̄) / (b + c·b̄ + w)): b is the variance
               of identities along it, less what chance explains, c this number, w the variance
               left within. 0: no shaping.
    """
    variance = scatter.variance
    largest = float(variance.max()) if len(variance) else 0.0
    if not largest > SAME:
        return None
    level, least = shrinkage * float(variance.sum()) / scatter.width, NEGLIGIBLE * largest
    gains = ((1 - shrinkage) * variance + level).clip(least) ** -0.5
    white = Whitening(scatter.directions, gains, max(level, least) ** -0.5)
    if not between:
        return white
    within = float((variance * gains**2).sum()) / scatter.width
    squares, shapes = scatter.differing(white, shrinkage=shrinkage)
    differ = (squares / len(scatter.persons) - within * scatter.per_person).clip(0)
    spare = between * float(differ.sum()) / scatter.width
    scales = ((differ + spare) / (differ + spare + within)) ** 0.5
    rest = (spare / (spare + within)) ** 0.5
    return replace(white, shapes=shapes, scales=scales, rest=rest)


@dataclass(frozen=True, eq=False)
class Metric:
    """What centred rows are multiplied by: a matrix [d, d] float64."""

    matrix: Any

    def apply(self, rows: Any) -> Any:
        """Return centred rows [N, d] in the metric, of the kind of float they are."""
        return rows @ library_of(rows).asarray(self.matrix, dtype=rows.dtype)


def averaged_metric(scatter: Scatter, pairs: Sequence[tuple[float, float]]) -> Metric | None:
    """Return the metric whose quadratic form is the mean of those of several whitenings.

    pairs: of a shrinkage and a `between`, as for `fit_whitening`. Each form counts by its trace.
    None where identities do not vary within themselves.
    """
    persons = scatter.persons
    library, whole = (
        library_of(persons),
        library_of(persons).zeros_like(persons[:1].T @ persons[:1]),
    )
    for shrinkage, between in pairs:
        white = fit_whitening(scatter, shrinkage=shrinkage, between=between)
        if white is None:
            return None
        matrix = white.apply(library.eye(len(whole), dtype=whole.dtype))
        outside = (scatter.width - len(whole)) * (white.floor * white.rest) ** 2
        whole = whole + matrix @ matrix.T / ((matrix**2).sum() + outside)
    squares, directions = library.linalg.eigh(whole * scatter.width / len(pairs))
    return Metric((directions * squares.clip(0) ** 0.5) @ directions.T)


def whiten(
    near: Neighbourhoods,
    *,
    protocol: RefineProtocol = "isolated",
    train: Embeddings | None = None,
    shrinkage: float = 0.6,
) -> Pair:
    """Return both sets whitened by what varies within training identities.

    shrinkage: γ, from 0 (the covariance as measured) to 1 (centring alone). 0.6 was among the best
        of seven values on embeddings of three networks, trained on the identities or not; the
        less a network knows the identities, the less shrinking is needed.

    No item reads another: both protocols are the same.

    Raises:
        BadInput: no training embeddings, another width, no identity with two of them.
    """
    if train is None:
        raise BadInput(
            "whiten is fitted on training identities, and these embeddings have no train split; "
            "extract or import one, or leave whiten out"
        )
    if not 0 <= shrinkage <= 1:
        raise BadInput(f"whiten: the shrinkage is {shrinkage}; 0 to 1 is wanted")
    query, gallery = both_rows(near)
    train = train.without_junk()
    rows = unit_rows(train.features, "training embeddings")
    pids, labels = np.unique(train.pids, return_inverse=True)
    if len(pids) == len(rows):
        raise BadInput(
            f"whiten needs identities with two embeddings or more; of the {len(pids)} training "
            "identities none has"
        )
    mean = mean_row(rows)
    white = fit_whitening(Scatter.of(rows - mean, labels), shrinkage=shrinkage)
    if rows.shape[1] != query.shape[1]:
        raise BadInput(
            f"the training embeddings are {rows.shape[1]} wide, the query's {query.shape[1]}; "
            "one network makes one width"
        )
    matrix = np.eye(len(mean)) if white is None else white.apply(np.eye(len(mean)))
    mean, matrix = mean.astype(np.float32), matrix.astype(np.float32)
    return with_rows(near, (query - mean) @ matrix, gallery=(gallery - mean) @ matrix)
