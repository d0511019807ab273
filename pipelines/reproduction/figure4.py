"""Figure 4: attention spent on other identities, softmax against RNS, as the set grows."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..embeddings import Embeddings
from ..reporting.plots import Curve, Plot
from ..reporting.tables_and_figures import Column, TableOrFigure
from ..seeding import numpy_generator
from .attention_mass import irrelevant_mass
from .experiment import Experiment
from .variants import NFORMER, SOFTMAX, Variant

LARGEST = 8000  # rows whose every pair is looked at
SIZES = 6
CURVES = {
    "softmax": "softmax, trained with it",
    "switched": "NFormer's weights, softmax instead of RNS",
    "rns": "RNS (NFormer)",
}
COLUMNS = (
    Column("identities", "identities", "count"),
    Column("rows", "N", "count"),
    Column("uniform", "all alike", "percent"),
    *(
        column
        for key, title in CURVES.items()
        for column in (
            Column(key, title, "percent"),
            Column(f"{key}_over_seeds", "± trainings", "percent"),
        )
    ),
)


def make(experiments: Sequence[Experiment]) -> TableOrFigure:
    """Return the figure of the first run."""
    experiment = experiments[0]
    rows = [
        _row_of(experiment, items)
        for items in growing_sets(
            experiment.gallery.select(experiment.of_people(experiment.gallery.pids))
        )
    ]
    sizes = [row["rows"] for row in rows]
    curves = [
        Curve(
            title,
            sizes,
            [100 * row[key] for row in rows],
            [100 * row[f"{key}_over_seeds"] for row in rows],
        )
        for key, title in CURVES.items()
    ]
    plot = Plot(
        title="Attention on other identities",
        x="embeddings in the set, N", y="share of attention in %", curves=curves,
        within=(0, 100),
    )  # fmt: skip
    last = rows[-1]
    return TableOrFigure(
        name="figure4",
        title="Figure 4: attention on irrelevant rows",
        columns=COLUMNS,
        rows=rows,
        plots=(plot,),
        text=f"With {last['rows']:,} embeddings softmax spends {100 * last['softmax']:.0f} % of "
        f"its attention on other identities, RNS {100 * last['rns']:.0f} %.",
        notes=(
            "The set grows by whole identities of the gallery, drawn at random, so the rows worth "
            "reading stay as many. Means over rows, heads, layers and trainings; a row's own edge "
            "counts as relevant. “all alike” is what equal weights on every row would spend.",
        ),
    )


def growing_sets(gallery: Embeddings) -> Iterator[Embeddings]:
    """Yield the images of more and more identities, up to all or to a few thousand images."""
    order = numpy_generator(0, "figure 4").permutation(np.unique(gallery.pids))
    counts = np.array([int((gallery.pids == pid).sum()) for pid in order]).cumsum()
    most = max(2, int(np.searchsorted(counts, LARGEST)))
    for number in np.unique(np.geomspace(min(4, most), most, SIZES).round().astype(int)):
        yield gallery.select(np.isin(gallery.pids, order[:number]))


def _row_of(experiment: Experiment, items: Embeddings) -> dict[str, Any]:
    identities = len(np.unique(items.pids))
    same = (items.pids[:, None] == np.unique(items.pids)).sum(axis=0)
    row: dict[str, Any] = {
        "identities": identities,
        "rows": len(items),
        "uniform": float(1 - (same / len(items)) @ (same / len(items))),
    }
    for key, variant in (("softmax", SOFTMAX), ("switched", NFORMER), ("rns", NFORMER)):
        masses = [
            _mass(experiment, key=key, variant=variant, seed=seed, items=items)
            for seed in experiment.seeds
        ]
        row |= {key: float(np.mean(masses)), f"{key}_over_seeds": float(np.std(masses))}
    return row


def _mass(
    experiment: Experiment, *, key: str, variant: Variant, seed: int, items: Embeddings
) -> float:
    def measure() -> dict[str, float]:
        model = experiment.model(variant, seed)
        if key == "switched":
            model.mask = "none"
        return {"mass": irrelevant_mass(model, items)}

    wanted = experiment.key_of(variant, seed)
    return experiment.cached(measure, "mass", key, wanted, len(items))["mass"]
