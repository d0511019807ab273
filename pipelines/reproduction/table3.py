"""Table 3: how much NFormer brings with 20, 15, 10 and 5 images of each identity."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..evaluation.foresee import foresee
from ..reporting.plots import Curve, Plot
from ..reporting.tables_and_figures import Column, TableOrFigure
from .control_rows import control_note, difference, own_note
from .experiment import Experiment
from .variants import ALONE, NFORMER

NUMBERS = (20, 15, 10, 5)
COLUMNS = (
    Column("number", "images at most", "count"),
    Column("images", "on average", "number"),
    Column("baseline_mAP", "backbone mAP", "percent"),
    Column("mAP", "NFormer mAP", "percent"),
    Column("mAP_over_seeds", "± trainings", "percent"),
    Column("mAP_over_draws", "± draws", "percent"),
    Column("gain", "difference", "points"),
    Column("alone_mAP", "k = 1 mAP", "percent"),
    Column("free", "best training-free"),
    Column("free_mAP", "its mAP", "percent"),
    Column("own_mAP", "nformer.pt mAP", "percent"),
    Column("estimated", "images estimated", "number"),
    Column("foreseen", "gain foreseen", "points"),
)


def make(experiments: Sequence[Experiment]) -> TableOrFigure:
    """Return the table of the first run."""
    experiment = experiments[0]
    rows = [_row_of(experiment, number) for number in NUMBERS]
    gains = {f"{row['images']:.3g}": row["gain"] for row in rows}
    return TableOrFigure(
        name="table3",
        title="Table 3: images of each identity",
        columns=COLUMNS,
        rows=rows,
        plots=(_plot(rows),),
        text="Difference that NFormer makes to mAP: "
        + ", ".join(f"{100 * gain:+.1f} with {images} images" for images, gain in gains.items())
        + ".",
        notes=(
            "Gallery images of each identity are drawn, for every training anew, as nformer "
            "subsample draws them; an identity that has fewer keeps all. Queries are not drawn.",
            foresee(experiment.train, experiment.query, gallery=experiment.gallery).describe(),
            "“images estimated” and “gain foreseen” use no label of the test set (nformer evaluate "
            "--will-it-help). The paper's own figures could not be checked and are left out.",
            control_note(experiment),
            *own_note(experiment),
        ),
    )


def _row_of(experiment: Experiment, number: int) -> dict[str, Any]:
    before, after = experiment.baseline(number=number), experiment.measured(NFORMER, number=number)
    free, free_figures = experiment.training_free(number=number)
    own = experiment.own(number=number)
    gallery = experiment.subset((number, 0))
    people = gallery.pids[experiment.of_people(gallery.pids)]
    foreseen = experiment.cached(
        lambda: foresee(experiment.train, experiment.query, gallery=gallery).figures(),
        "foreseen",
        number,
    )
    return {
        "number": number,
        "images": float(np.mean(np.unique(people, return_counts=True)[1])),
        "baseline_mAP": before["mAP"],
        **after.mean,
        "mAP_over_seeds": after.over_seeds,
        "mAP_over_draws": after.over_draws,
        "gain": difference(after.mean, before),
        "alone_mAP": experiment.measured(ALONE, number=number).mean["mAP"],
        "free": free,
        "free_mAP": free_figures["mAP"],
        "own_mAP": own["mAP"] if own else None,
        **foreseen,
    }


def _plot(rows: Sequence[dict[str, Any]]) -> Plot:
    images = [row["images"] for row in rows]
    kinds = {"baseline_mAP": "backbone", "mAP": "NFormer", "alone_mAP": "k = 1",
             "free_mAP": "best training-free", "own_mAP": "this run's nformer.pt"}  # fmt: skip
    curves = [
        Curve(
            title,
            images,
            [100 * row[key] for row in rows],
            [100 * (row["mAP_over_seeds"] or 0) for row in rows] if key == "mAP" else (),
        )
        for key, title in kinds.items()
        if rows[0][key] is not None
    ]
    return Plot(
        title="mAP by images of an identity",
        x="gallery images of an identity, on average", y="mAP in %", curves=curves,
    )  # fmt: skip
