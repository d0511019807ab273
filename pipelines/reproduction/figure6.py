"""Figure 6: landmarks against the exact affinity: similarity, mAP and cost."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..gallery.refinement import prepare
from ..reporting.plots import Curve, Plot
from ..reporting.tables_and_figures import Column, TableOrFigure
from .affinity_similarity import affinity_similarity
from .control_rows import of_summary
from .experiment import Experiment
from .flops import affinity_flops
from .variants import EXACT_RNS, LS, NFORMER, ORDINARY, Variant

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200)
DRAWS = 5  # for the likeness, of each layer and training
ROWS = (1_000, 3_000, 10_000, 30_000, 100_000)
COST = {0: "exact A", 20: "Ã, l = 20", 5: "Ã, l = 5", 1: "Ã, l = 1"}
COLUMNS = (
    Column("method", "affinity"),
    Column("landmarks", "l", "count"),
    Column("cosine", "cos(A, Ã)", "number"),
    Column("centred", "centred", "number"),
    Column("rank1", "rank-1", "percent"),
    Column("mAP", "mAP", "percent"),
    Column("mAP_over_seeds", "± trainings", "percent"),
    Column("mAP_over_draws", "± draws", "percent"),
    *(Column(f"gflops_{rows}", f"GFLOPs, N = {rows:,}", "number") for rows in ROWS),
)


def make(experiments: Sequence[Experiment]) -> TableOrFigure:
    """Return the figure of the first run."""
    experiment = experiments[0]
    like = _likeness(experiment)
    dim = experiment.query.dim
    rows = [_row_of(experiment, count, like=like, dim=dim) for count in sorted({*LS, *like})]
    for title, variant in (("exact A, RNS", EXACT_RNS), ("exact A, softmax", ORDINARY)):
        rows.append(of_summary(title, experiment.measured(variant), **_cost(dim, 0)))
    return TableOrFigure(
        name="figure6",
        title="Figure 6: landmark agent attention",
        columns=COLUMNS,
        rows=rows,
        plots=(_likeness_plot(like), _map_plot(experiment, rows), _cost_plot(dim)),
        text=_told(next(row for row in rows if row.get("landmarks") == 5), rows[-2]),
        notes=(
            "cos(vec A, vec Ã), with A = q kᵀ and Ã = (q k_lᵀ)(k q_lᵀ)ᵀ (Eq. 5), over all pairs of "
            f"query and gallery images: means over layers, heads, {DRAWS} draws of l rows of the "
            "set, and trainings of NFormer with l = 5. Uncentred, a common offset of the entries "
            "makes matrices look alike; centred, each one's mean entry is taken off first.",
            "mAP: trained and tested with l landmarks each; the horizontal lines are an exact "
            "affinity under RNS and under softmax, and the backbone.",
            "GFLOPs of one layer's affinity of a whole set in one head of full width, by formula, "
            "every pair of it. NFormer as built here computes Ã on the edges only: "
            f"{affinity_flops(100_000, dim=dim, landmarks=5, neighbours=20) / 1e9:.2g} GFLOPs for "
            "100,000 embeddings, k = 20 and l = 5.",
        ),
    )


def _told(five: dict[str, Any], exact: dict[str, Any]) -> str:
    words = f"mAP is {100 * five['mAP']:.1f} % with 5 landmarks and {100 * exact['mAP']:.1f} % "
    words += "with the exact affinity."
    if five["cosine"] is None:  # a set of fewer than five
        return words
    like = f"the cosine of A and Ã is {five['cosine']:.2f}, centred {five['centred']:.2f}"
    return f"With l = 5 {like}; {words}"


def _likeness(experiment: Experiment) -> dict[int, tuple[float, float]]:
    """Return l -> the two cosines, means over trainings."""
    counts = [count for count in COUNTS if count <= len(experiment.query) + len(experiment.gallery)]
    features = np.concatenate([experiment.query.features, experiment.gallery.features])
    found = []
    for seed in experiment.seeds:

        def measure(seed: int = seed) -> dict[str, float]:
            model = experiment.model(NFORMER, seed)
            rows = prepare(model, features, what="embeddings")
            each = affinity_similarity(model, rows, counts=counts, draws=DRAWS, seed=seed)
            return {f"{count} {side}": value for count, pair in each.items()
                    for side, value in zip(("plain", "centred"), pair, strict=True)}  # fmt: skip

        found.append(
            experiment.cached(measure, "likeness", experiment.key_of(NFORMER, seed), DRAWS, COUNTS)
        )
    return {
        count: (_mean(found, f"{count} plain"), _mean(found, f"{count} centred"))
        for count in counts
    }


def _mean(found: Sequence[dict[str, float]], key: str) -> float:
    return float(np.mean([one[key] for one in found]))


def _row_of(
    experiment: Experiment, count: int, *, like: dict[int, tuple[float, float]], dim: int
) -> dict[str, Any]:
    cosine, centred = like.get(count, (None, None))
    about = {"landmarks": count, "cosine": cosine, "centred": centred, **_cost(dim, count)}
    if count not in LS:
        return {"method": f"Ã, l = {count}", **about}
    return of_summary(f"Ã, l = {count}", experiment.measured(Variant(landmarks=count)), **about)


def _cost(dim: int, landmarks: int) -> dict[str, float]:
    return {
        f"gflops_{rows}": affinity_flops(rows, dim=dim, landmarks=landmarks) / 1e9 for rows in ROWS
    }


def _likeness_plot(like: dict[int, tuple[float, float]]) -> Plot:
    counts = list(like)
    curves = (
        Curve("as defined", counts, [like[count][0] for count in counts]),
        Curve("centred", counts, [like[count][1] for count in counts]),
    )
    return Plot(title="Likeness of A and Ã", x="landmarks l", y="cos(vec A, vec Ã)",
                curves=curves, log="x", within=(0, 1))  # fmt: skip


def _map_plot(experiment: Experiment, rows: Sequence[dict[str, Any]]) -> Plot:
    measured = [row for row in rows if row.get("landmarks") in LS]
    curve = Curve(
        "landmarks, RNS",
        [row["landmarks"] for row in measured],
        [100 * row["mAP"] for row in measured],
        [100 * (row["mAP_over_seeds"] or 0) for row in measured],
    )
    levels = {row["method"]: 100 * row["mAP"] for row in rows[-2:]}
    levels["backbone"] = 100 * experiment.baseline()["mAP"]
    return Plot(title="mAP by landmarks", x="landmarks l", y="mAP in %", curves=(curve,),
                levels=levels, log="x")  # fmt: skip


def _cost_plot(dim: int) -> Plot:
    curves = [
        Curve(title, ROWS, [affinity_flops(n, dim=dim, landmarks=count) / 1e9 for n in ROWS])
        for count, title in COST.items()
    ]
    on_edges = [affinity_flops(n, dim=dim, landmarks=5, neighbours=20) / 1e9 for n in ROWS]
    curves.append(Curve("Ã on the edges, l = 5", ROWS, on_edges))
    return Plot(title="Cost of one layer's affinity", x="embeddings in the set, N", y="GFLOPs",
                curves=curves, log="xy")  # fmt: skip
