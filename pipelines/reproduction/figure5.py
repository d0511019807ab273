"""Figure 5: sampled identities in the plane by t-SNE, before and after NFormer."""

from collections.abc import Sequence

import numpy as np

from ..embeddings import Embeddings
from ..errors import BadInput
from ..gallery.refinement import refine
from ..neighbours.checked import unit_rows
from ..reporting.paper import printed
from ..reporting.plots import Curve, Plot
from ..reporting.tables_and_figures import Column, TableOrFigure
from ..seeding import numpy_generator
from .experiment import Experiment
from .variants import NFORMER

IDENTITIES = 10
LEAST_IMAGES = 4
MOST_IMAGES = 40  # of an identity
COLUMNS = (
    Column("pid", "identity"),
    Column("name", "image"),
    *(
        Column(f"{side}_{axis}", f"{side} {axis}", "number")
        for side in ("before", "after")
        for axis in "xy"
    ),
)


class CannotShow(BadInput):
    """scikit-learn is not installed, or there are fewer than two identities to show."""


def require_tsne() -> None:
    """Raise CannotShow, saying what to install, where t-SNE cannot be had."""
    try:
        import sklearn.manifold  # noqa: F401
    except ImportError as error:
        raise CannotShow(
            "figure5 needs scikit-learn for t-SNE; install it with: pip install 'nformer[tsne]'"
        ) from error


def make(experiments: Sequence[Experiment]) -> TableOrFigure:
    """Return the figure of the first run.

    Raises:
        CannotShow: scikit-learn is not installed, or there is hardly anybody to show.
    """
    require_tsne()
    experiment = experiments[0]
    chosen = sampled(experiment)
    before = experiment.gallery.select(chosen)
    refined = refine(experiment.model(NFORMER, 0), experiment.query, experiment.gallery)[1]
    sides = {"before": before, "after": refined.select(chosen)}
    points = {side: in_the_plane(items, experiment.settings.seed) for side, items in sides.items()}
    spread = {side: silhouette(items) for side, items in sides.items()}
    rows = [
        {
            "pid": int(before.pids[row]),
            "name": before.names[row],
            **{f"{side}_{axis}": float(found[row, column])
               for side, found in points.items() for column, axis in enumerate("xy")},
        }
        for row in range(len(before))
    ]  # fmt: skip
    shown = np.unique(before.pids)
    people = len(shown)
    plots = []
    for side, found in points.items():
        title = f"{side} NFormer, silhouette {spread[side]:.2f}"
        groups = [Curve(f"{pid}", *found[before.pids == pid].T.tolist()) for pid in shown]
        plots.append(Plot(title=title, x="", y="", curves=groups, kind="points"))
    return TableOrFigure(
        name="figure5",
        title="Figure 5: t-SNE before and after",
        columns=COLUMNS,
        rows=rows,
        plots=plots,
        text=f"{len(before)} gallery images of {people} identities. Silhouette by identity (1: far "
        f"apart, 0: mixed): {spread['before']:.2f} before, {spread['after']:.2f} after NFormer.",
        notes=(
            f"{people} identities of {LEAST_IMAGES} gallery images or more, drawn at random, at "
            f"most {MOST_IMAGES} images of each; scikit-learn's t-SNE on cosine distances, alike "
            "on both sides. The gallery was refined whole, with the first training of the paper's "
            "NFormer. t-SNE shows who is near whom; distances between groups mean nothing. "
            f"{printed('figure5')['note']}",
        ),
    )


def in_the_plane(items: Embeddings, seed: int) -> np.ndarray:
    """Return t-SNE's points, [N, 2], scaled to lie between -1 and 1."""
    from sklearn.manifold import TSNE

    rows = unit_rows(items.features, "embeddings")
    perplexity = max(2.0, min(15.0, (len(rows) - 1) / 3))
    points = TSNE(
        metric="cosine", init="random", perplexity=perplexity, random_state=seed
    ).fit_transform(rows)
    return points / np.abs(points).max()


def silhouette(items: Embeddings) -> float:
    """Return how well identities are apart in the embeddings themselves, by cosine distance."""
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(items.features, items.pids, metric="cosine"))


def sampled(experiment: Experiment) -> np.ndarray:
    """Return the gallery rows to show, [n] sorted; CannotShow where nearly nobody has enough."""
    pids, random = experiment.gallery.pids, numpy_generator(experiment.settings.seed, "figure 5")
    people, counts = np.unique(pids[experiment.of_people(pids)], return_counts=True)
    able = people[counts >= LEAST_IMAGES]
    if len(able) < 2:
        raise CannotShow(
            f"figure5 samples identities with {LEAST_IMAGES} gallery images or more, and there "
            f"are {len(able)} here"
        )
    chosen = random.choice(able, min(IDENTITIES, len(able)), replace=False)
    rows = [random.permutation(np.flatnonzero(pids == pid))[:MOST_IMAGES] for pid in chosen]
    return np.sort(np.concatenate(rows))
