"""Equation 5: under which conditions Ã is like A, and becomes more so with more landmarks.

Ã = q M kᵀ with M = k_lᵀ q_l, a sum over the landmarks. With many random landmarks, M is l times
C = mean over rows of k qᵀ, so Ã is in the end like q C kᵀ, and no more like A = q kᵀ than that:
cos(vec A, vec Ã) tends to 1 only where C acts on the queries as a multiple of the identity, or
where a common offset of all rows outweighs what tells them apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..gallery.refinement import prepare
from ..nformer.model import NFormer
from ..reporting.plots import Curve, Plot
from ..reporting.tables_and_figures import Column, TableOrFigure
from ..seeding import torch_generator
from .experiment import Experiment
from .likeness import affinity_similarity, projected_similarity
from .rows import Row
from .variants import EXACT_RNS, NFORMER, Variant

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200)
SHOWN = (1, 5, 20, 100)  # columns of the table; the curves show all
DRAWS = 5
OFFSET = 0.8  # mean cosine of pairs of embeddings with a common offset, as after a ReLU
TRAINED = {
    "trained, l = 5": NFORMER,
    "trained, l = 20": Variant(landmarks=20),
    "trained, exact A": EXACT_RNS,
}
COLUMNS = (
    Column("method", "condition"),
    Column("offset", "mean cosine of pairs", "number"),
    *(Column(f"cosine_{count}", f"l = {count}", "number") for count in SHOWN),
    Column("cosine_all", "all rows", "number"),
    Column("centred_5", "l = 5", "number", "centred"),
    Column("centred_all", "all rows", "number", "centred"),
)
Similar = dict[int, tuple[float, float]]


@dataclass(frozen=True)
class Condition:
    """Where the likeness is measured.

    offset:  the mean cosine of pairs of the embeddings given.
    keys:    for each seed, what a measurement is kept under.
    similar: from a seed to number of landmarks -> the two cosines.
    """

    name: str
    offset: float
    keys: Sequence[str]
    similar: Callable[[int], Similar]

    def over_seeds(self, experiment: Experiment, *, counts: Sequence[int]) -> Similar:
        """Return the means over seeds; what was measured before is not measured again."""
        each = [
            experiment.cached(
                lambda seed=seed: _flat(self.similar(seed)),  # type: ignore[misc]
                *("equation 5", self.name, key, seed, DRAWS, counts),
            )
            for seed, key in zip(experiment.seeds, self.keys, strict=True)
        ]

        def mean(key: str) -> float:
            return float(np.mean([one[key] for one in each]))

        return {count: (mean(f"{count} plain"), mean(f"{count} centred")) for count in counts}


def make(experiments: Sequence[Experiment]) -> TableOrFigure:
    """Return the figure of the first run."""
    experiment = experiments[0]
    features = np.concatenate([experiment.query.features, experiment.gallery.features])
    counts = [count for count in COUNTS if count < len(features)]
    every = [*counts, len(features)]
    kinds = {
        "in NFormers": _of_models(experiment, features, counts=every),
        "of projected embeddings": _of_projections(experiment, features, counts=every),
    }
    rows, plots = list[Row](), list[Plot]()
    for kind, conditions in kinds.items():
        similar = {one.name: one.over_seeds(experiment, counts=every) for one in conditions}
        rows += [_row(one, similar[one.name], rows=len(features)) for one in conditions]
        curves = [
            Curve(name, counts, [found[count][0] for count in counts])
            for name, found in similar.items()
        ]
        title, y = f"Likeness of A and Ã {kind}", "cos(vec A, vec Ã)"
        plots.append(
            Plot(
                title=title,
                x="landmarks l",
                y=y,
                curves=curves,
                log="x",
                within=(0, 1),
                levels={"the paper's limit": 1.0},
            )
        )
    return TableOrFigure(
        name="equation5",
        title="Equation 5: when the affinity Ã of landmarks is like the exact A",
        columns=COLUMNS,
        rows=rows,
        plots=plots,
        text=_told(rows),
        notes=(
            "cos(vec A, vec Ã) over all pairs of query and gallery images, a mean over "
            f"{DRAWS} draws of l random rows as landmarks and {experiment.settings.seeds} "
            "trainings or random weights; of trained models over layers and heads too. “All "
            "rows”: every row is a landmark, the limit for large l. “Centred”: each matrix's mean "
            "entry is taken off first, so that a common offset does not count as likeness.",
            "The paper (Eq. 5, Figure 6a) finds the cosine to grow with l and to approach 1 even "
            "with few landmarks; it proves this in a supplement that is not at hand. With many "
            "landmarks Ã tends to q C kᵀ, C the mean of k qᵀ over the rows: the limit is 1 only "
            "where C acts as a multiple of the identity, or where a common offset of all rows "
            "outweighs what tells them apart.",
            "“One projection”: random weights, the same for queries and keys, no bias. “With an "
            f"offset”: one vector added to all embeddings, so that pairs have a mean cosine of "
            f"{OFFSET}, as features have after a ReLU. “Whitened”: the projection that makes C the "
            "identity.",
        ),
    )  # fmt: skip


def _row(condition: Condition, similar: Similar, *, rows: int) -> Row:
    row: Row = {"method": condition.name, "offset": condition.offset}
    row |= {f"cosine_{count}": similar[count][0] for count in SHOWN if count in similar}
    if 5 in similar:
        row["centred_5"] = similar[5][1]
    return row | {"cosine_all": similar[rows][0], "centred_all": similar[rows][1]}


def _told(rows: Sequence[Row]) -> str:
    """Say what the trained NFormer does, and which condition comes nearest to the claim."""

    def at_five(row: Row) -> float:
        return float(row["cosine_5" if "cosine_5" in row else "cosine_all"])

    trained, best = rows[0], max(rows, key=at_five)
    words = f"NFormer as trained has a cosine of {trained['cosine_all']:.2f} with every row as a "
    words += f"landmark ({trained['centred_all']:.2f} centred)"
    if "cosine_5" in trained:
        words += f" and of {trained['cosine_5']:.2f} with 5"
    if best is trained:
        return f"{words}."
    highest = f"“{best['method']}”: {at_five(best):.2f}"
    return f"{words}; the condition with the highest at l = 5 is {highest}."


def _of_models(
    experiment: Experiment, features: np.ndarray, *, counts: Sequence[int]
) -> list[Condition]:
    """Return trained models, one without its biases, and untrained ones."""

    def condition(name: str, variant: Variant, *, model_of: Callable[[int], NFormer]) -> Condition:
        def similar(seed: int) -> Similar:
            model = model_of(seed)
            rows = prepare(model, features, what="embeddings")
            return affinity_similarity(model, rows, counts=counts, draws=DRAWS, seed=seed)

        keys = [experiment.key_of(variant, seed) for seed in experiment.seeds]
        return Condition(name, mean_cosine(features), keys, similar)

    def untrained(seed: int) -> NFormer:
        return experiment.trainer(NFORMER, seed).model

    def trained(variant: Variant) -> Callable[[int], NFormer]:
        return lambda seed: experiment.model(variant, seed)

    return [
        *(condition(name, variant, model_of=trained(variant)) for name, variant in TRAINED.items()),
        condition(
            "trained, l = 5, bias terms 0",
            NFORMER,
            model_of=lambda seed: without_bias(experiment.model(NFORMER, seed)),
        ),
        condition("untrained", NFORMER, model_of=untrained),
    ]


def _of_projections(
    experiment: Experiment, features: np.ndarray, *, counts: Sequence[int]
) -> list[Condition]:
    """Return one projection of the embeddings as they are, and of embeddings made otherwise."""
    as_they_are = _unit(features)
    centred = _unit(as_they_are - as_they_are.mean(axis=0))
    dim, heads = features.shape[1], experiment.shape["heads"]

    def condition(name: str, rows: np.ndarray, *, weight_of: Callable[[int], Tensor]) -> Condition:
        def similar(seed: int) -> Similar:
            projected = torch.from_numpy(rows) @ weight_of(seed).T
            return projected_similarity(projected, projected, counts=counts, draws=DRAWS, seed=seed)

        return Condition(name, mean_cosine(rows), [f"{heads}"] * len(experiment.seeds), similar)

    whitened = whitening(torch.from_numpy(as_they_are))

    def drawn(seed: int) -> Tensor:
        return random_projection(dim, -(-dim // heads), seed=seed)

    return [
        condition("one projection", as_they_are, weight_of=drawn),
        condition("one projection, embeddings centred", centred, weight_of=drawn),
        condition("one projection, with an offset", with_offset(centred, OFFSET), weight_of=drawn),
        condition("whitened", as_they_are, weight_of=lambda _: whitened),
    ]


def _flat(similar: Similar) -> dict[str, float]:
    return {
        f"{count} {side}": value
        for count, pair in similar.items()
        for side, value in zip(("plain", "centred"), pair, strict=True)
    }


def without_bias(model: NFormer) -> NFormer:
    """Set the biases of all query and key projections to zero; returns the same model."""
    for block in model.layers():
        for projection in (block.attention.query, block.attention.key):
            torch.nn.init.zeros_(projection.bias)
    return model


def mean_cosine(features: np.ndarray) -> float:
    """Return the mean cosine of all pairs of rows, a row with itself included."""
    return float((_unit(features).mean(axis=0) ** 2).sum())


def with_offset(rows: np.ndarray, cosine: float) -> np.ndarray:
    """Add one vector to unit rows [N, d] of mean about zero, so that pairs have a mean cosine."""
    direction = np.ones(rows.shape[1], rows.dtype) / np.sqrt(rows.shape[1])
    mixed = np.sqrt(1 - cosine) * rows + np.sqrt(cosine) * direction
    return np.ascontiguousarray(mixed, dtype=np.float32)


def random_projection(dim: int, width: int, *, seed: int) -> Tensor:
    """Return weights [width, dim], drawn as those of an untrained layer."""
    generator = torch_generator(seed, "equation 5")
    return torch.nn.init.xavier_uniform_(torch.empty(width, dim), generator=generator)


def whitening(rows: Tensor) -> Tensor:
    """Return the symmetric W [d, d] that makes the mean of (W x)(W x)ᵀ the identity.

    Directions of less than a ten-thousandth of the largest second moment stay small.
    """
    values, vectors = torch.linalg.eigh(rows.T.double() @ rows.double() / len(rows))
    scale = values.clamp_min(1e-4 * float(values[-1])).rsqrt()
    return (vectors * scale @ vectors.T).float()


def _unit(features: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(lengths, 1e-12), dtype=np.float32)
