"""Figure 4: attention spent on other identities, softmax against RNS, as the set grows."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..embeddings import Embeddings, row_blocks
from ..gallery.graph import gallery_graph
from ..gallery.refinement import pick_landmarks, prepare
from ..neighbours.edges import Edges, edge_dot, edge_softmax
from ..nformer.fused import Projected
from ..nformer.layerwise import evaluating, layer_by_layer
from ..nformer.model import NFormer
from ..reporting.paper import printed
from ..reporting.plots import Plot
from ..reporting.tables_and_figures import Column, TableOrFigure
from ..seeding import numpy_generator
from .experiment import Experiment, Figures
from .rows import Row, curve
from .variants import NFORMER, SOFTMAX, Variant

LARGEST = 8000  # rows whose every pair is looked at
SIZES = 6
BLOCK = 512  # rows whose weights on all others are held at once
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
    people = experiment.gallery.select(experiment.of_people(experiment.gallery.pids))
    rows = [_row_of(experiment, items) for items in growing_sets(people)]
    curves = [
        curve(title, rows, x="rows", y=key, error=f"{key}_over_seeds")
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
            printed("figure4")["note"],
        ),
    )


def growing_sets(gallery: Embeddings) -> Iterator[Embeddings]:
    """Yield the images of more and more identities, up to all or to a few thousand images."""
    order = numpy_generator(0, "figure 4").permutation(np.unique(gallery.pids))
    counts = np.array([int((gallery.pids == pid).sum()) for pid in order]).cumsum()
    most = max(2, int(np.searchsorted(counts, LARGEST)))
    for number in np.unique(np.geomspace(min(4, most), most, SIZES).round().astype(int)):
        yield gallery.select(np.isin(gallery.pids, order[:number]))


def _row_of(experiment: Experiment, items: Embeddings) -> Row:
    same = np.unique(items.pids, return_counts=True)[1] / len(items)
    row: Row = {"identities": len(same), "rows": len(items), "uniform": float(1 - same @ same)}
    for key, variant in (("softmax", SOFTMAX), ("switched", NFORMER), ("rns", NFORMER)):
        masses = []
        for seed in experiment.seeds:

            def measure(*, key: str = key, variant: Variant = variant, seed: int = seed) -> Figures:
                model = experiment.model(variant, seed)
                model.mask = "none" if key == "switched" else model.mask
                return {"mass": irrelevant_mass(model, items)}

            wanted = ("mass", key, experiment.key_of(variant, seed), len(items))
            masses.append(experiment.cached(measure, *wanted)["mass"])
        row |= {key: float(np.mean(masses)), f"{key}_over_seeds": float(np.std(masses))}
    return row


@torch.no_grad()
def irrelevant_mass(model: NFormer, items: Embeddings, *, seed: int = 0) -> float:
    """Return the share of attention on other identities: a mean over rows, heads and layers.

    The softmax is the model's own: over all rows, or over the edges that its mask keeps.
    """
    rows = prepare(model, items.features, what="embeddings")
    pids = torch.from_numpy(items.pids).to(rows.device)
    marks = pick_landmarks(model, rows, landmarks="random", seed=seed)
    graph = gallery_graph(model, rows)
    shares = []
    with evaluating(model):
        for layer in layer_by_layer(model, rows.clone(), edges=graph.edges, landmarks=marks):
            if graph.edges is None:
                shares.append(_of_all(layer.source, pids, heads=model.heads))
            else:
                shares.append(_of_edges(layer.source, graph.edges, pids=pids, heads=model.heads))
    return sum(shares) / len(shares)


def _of_all(source: Projected, pids: Tensor, *, heads: int) -> float:
    asking, keys = (
        part.view(len(pids), heads, -1).transpose(0, 1) for part in (source.asking, source.keys)
    )  # [h, N, c]
    total = 0.0
    for part in row_blocks(len(pids), BLOCK):
        weights = (asking[:, part] @ keys.transpose(1, 2)).softmax(dim=2)  # [h, block, N]
        total += float((weights * (pids[part, None] != pids)).sum())
    return total / (heads * len(pids))


def _of_edges(source: Projected, edges: Edges, *, pids: Tensor, heads: int) -> float:
    own = torch.linalg.vecdot(source.asking, source.keys)
    weights = edge_softmax(own, edge_dot(source.asking, source.keys, edges=edges), edges=edges)[
        1
    ]  # [E]
    other = pids[edges.row_of // heads] != pids[edges.index // heads]
    return float(weights[other].sum()) / (heads * len(pids))
