"""Figure 6: landmarks against the exact affinity: similarity, mAP and cost."""

from collections.abc import Sequence

import numpy as np

from ..gallery.refinement import prepare
from ..reporting.paper import Beside, printed
from ..reporting.plots import Curve, Plot
from ..reporting.tables_and_figures import Column, TableOrFigure
from .experiment import Experiment
from .flops import affinity_flops
from .likeness import affinity_similarity
from .rows import DEVIATIONS, FIGURES, Row, beside, curve
from .variants import EXACT_RNS, LS, NFORMER, ORDINARY, Variant

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200)
DRAWS = 5  # of landmarks for the similarity, of each layer and training
ROWS = (1_000, 3_000, 10_000, 30_000, 100_000)
COST = {0: "exact A", 20: "Ã, l = 20", 5: "Ã, l = 5", 1: "Ã, l = 1"}
COLUMNS = (
    Column("method", "affinity"),
    Column("landmarks", "l", "count"),
    Column("cosine", "cos(A, Ã)", "number"),
    Column("centred", "centred", "number"),
    *FIGURES,
    Column("gain", "over l = 5", "points"),
)
SHARE = "operations, % of A's"
SHARES = (Column("share", SHARE, "number"), Column("paper_share", SHARE, "number", "paper"))
MORE = (
    *DEVIATIONS,
    *(Column(f"gflops_{rows}", f"GFLOPs, N = {rows:,}", "number") for rows in ROWS),
)


def make(experiments: Sequence[Experiment]) -> TableOrFigure:
    """Return the figure of the first run."""
    experiment, paper = experiments[0], beside("figure6", experiments[0])
    similar = _similarities(experiment)
    dim = experiment.query.dim
    rows = [_row_of(experiment, count, similar=similar) for count in sorted({*LS, *similar})]
    for title, variant in (("exact A, RNS", EXACT_RNS), ("exact A, softmax", ORDINARY)):
        rows.append({"method": title, **experiment.measured(variant), **_cost(dim, 0)})
    five = experiment.measured(NFORMER)["mAP"]
    for row in rows:
        row["gain"] = row["mAP"] - five if "mAP" in row else None
        if row.get("landmarks") == NFORMER.landmarks:
            row |= {"paper_share": printed("figure6")["share"], **paper.cells(5)}
    rows[-2] |= paper.cells("exact")
    return TableOrFigure(
        name="figure6",
        title="Figure 6: landmark agent attention",
        columns=(*COLUMNS, *paper.columns("mAP", "gain"), *SHARES, *MORE),
        rows=rows,
        plots=(
            _similarity_plot(similar),
            _map_plot(experiment, rows, paper=paper),
            _cost_plot(dim),
        ),
        text=_told(next(row for row in rows if row.get("landmarks") == 5), rows[-2]),
        notes=(
            "cos(vec A, vec Ã), with A = q kᵀ and Ã = (q k_lᵀ)(k q_lᵀ)ᵀ (Eq. 5), over all pairs of "
            f"query and gallery images: means over layers, heads, {DRAWS} draws of l rows of the "
            "set, and trainings of NFormer with l = 5. Uncentred, a common offset of the entries "
            "makes matrices look alike; centred, each one's mean entry is taken off first.",
            paper.note,
            "mAP: trained and tested with l landmarks each; the horizontal lines are an exact "
            "affinity under RNS and under softmax, and the backbone.",
            "GFLOPs of one layer's affinity of a whole set in one head of full width, by formula, "
            "every pair of it. NFormer as built here computes Ã on the edges only: "
            f"{affinity_flops(100_000, dim=dim, landmarks=5, neighbours=20) / 1e9:.2g} GFLOPs for "
            "100,000 embeddings, k = 20 and l = 5.",
        ),
    )


def _told(five: Row, exact: Row) -> str:
    words = f"mAP is {100 * five['mAP']:.1f} % with 5 landmarks and {100 * exact['mAP']:.1f} % "
    words += "with the exact affinity."
    if five["cosine"] is None:  # a set of fewer than five
        return words
    like = f"the cosine of A and Ã is {five['cosine']:.2f}, centred {five['centred']:.2f}"
    return f"With l = 5 {like}; {words}"


def _similarities(experiment: Experiment) -> dict[int, tuple[float, float]]:
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

        key = ("likeness", experiment.key_of(NFORMER, seed), DRAWS, COUNTS)
        found.append(experiment.cached(measure, *key))

    def mean(key: str) -> float:
        return float(np.mean([one[key] for one in found]))

    return {count: (mean(f"{count} plain"), mean(f"{count} centred")) for count in counts}


def _row_of(experiment: Experiment, count: int, *, similar: dict[int, tuple[float, float]]) -> Row:
    cosine, centred = similar.get(count, (None, None))
    return {
        "method": f"Ã, l = {count}",
        **(experiment.measured(Variant(landmarks=count)) if count in LS else {}),
        **{"landmarks": count, "cosine": cosine, "centred": centred},
        "share": 100 * count / experiment.query.dim,  # of O(N² l) in O(N² d), section 3.3
        **_cost(experiment.query.dim, count),
    }


def _cost(dim: int, landmarks: int) -> dict[str, float]:
    return {
        f"gflops_{rows}": affinity_flops(rows, dim=dim, landmarks=landmarks) / 1e9 for rows in ROWS
    }


def _similarity_plot(similar: dict[int, tuple[float, float]]) -> Plot:
    curves = [
        Curve(label, list(similar), [pair[side] for pair in similar.values()])
        for side, label in enumerate(("as defined", "centred"))
    ]
    return Plot(title="Likeness of A and Ã", x="landmarks l", y="cos(vec A, vec Ã)",
                curves=curves, log="x", within=(0, 1))  # fmt: skip


def _map_plot(experiment: Experiment, rows: Sequence[Row], *, paper: Beside) -> Plot:
    measured = [row for row in rows if row.get("landmarks") in LS]
    curves = (curve("landmarks, RNS", measured, x="landmarks"),)
    levels = {row["method"]: 100 * row["mAP"] for row in rows[-2:]}
    levels["backbone"] = 100 * experiment.baseline()["mAP"]
    levels |= paper.levels(5, "l = 5")
    return Plot(title="mAP by landmarks", x="landmarks l", y="mAP in %", curves=curves,
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
