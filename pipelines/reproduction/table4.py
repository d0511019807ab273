"""Table 4: each run's data set and backbone, without NFormer and with it."""

from collections.abc import Sequence
from typing import Any

from ..reporting.plots import Curve, Plot
from ..reporting.tables_and_figures import Column, TableOrFigure
from .control_rows import control_note, difference, distinct_labels, own_note
from .experiment import Experiment
from .paper import backbone_of, paper_note, published_for
from .variants import ALONE, NFORMER

COLUMNS = (
    Column("run", "run"),
    Column("dataset", "data set"),
    Column("backbone", "backbone"),
    Column("baseline_rank1", "backbone rank-1", "percent"),
    Column("baseline_mAP", "mAP", "percent"),
    Column("rank1", "NFormer rank-1", "percent"),
    Column("mAP", "mAP", "percent"),
    Column("mAP_over_seeds", "± trainings", "percent"),
    Column("mAP_over_draws", "± draws", "percent"),
    Column("gain", "gain", "points"),
    Column("own_mAP", "nformer.pt mAP", "percent"),
    Column("alone_mAP", "k = 1 mAP", "percent"),
    Column("free", "best training-free"),
    Column("free_mAP", "its mAP", "percent"),
)
PAPERS = (
    Column("paper_baseline_rank1", "paper: backbone rank-1", "percent"),
    Column("paper_baseline_mAP", "mAP", "percent"),
    Column("paper_rank1", "NFormer rank-1", "percent"),
    Column("paper_mAP", "mAP", "percent"),
)


def make(experiments: Sequence[Experiment]) -> TableOrFigure:
    """Return a row for each run."""
    rows = [_row_of(experiment) for experiment in experiments]
    notes = dict.fromkeys(
        paper_note(experiment.run, experiment.dataset, queries=len(experiment.query))
        for experiment in experiments
    )
    labels = distinct_labels([f"{row['dataset']}, {row['backbone']}" for row in rows], experiments)
    papers = PAPERS if any("paper_mAP" in row for row in rows) else ()
    return TableOrFigure(
        name="table4",
        title="Table 4: data sets and backbones",
        columns=COLUMNS + papers,
        rows=rows,
        plots=(_plot(rows, labels),),
        text=" ".join(
            f"{label}: mAP {100 * row['baseline_mAP']:.1f} % without NFormer, "
            f"{100 * row['mAP']:.1f} % with it."
            for label, row in zip(labels, rows, strict=True)
        ),
        notes=(*notes, control_note(experiments[0]), *own_note(experiments[0])),
    )


def _row_of(experiment: Experiment) -> dict[str, Any]:
    before, after = experiment.baseline(), experiment.measured(NFORMER)
    free, free_figures = experiment.training_free()
    own = experiment.own()
    row = {
        "run": str(experiment.run.folder),
        "dataset": experiment.dataset or "embeddings",
        "backbone": backbone_of(experiment.run),
        "baseline_rank1": before["rank1"],
        "baseline_mAP": before["mAP"],
        **after.mean,
        "mAP_over_seeds": after.over_seeds,
        "mAP_over_draws": after.over_draws,
        "gain": difference(after.mean, before),
        "own_mAP": own["mAP"] if own else None,
        "alone_mAP": experiment.measured(ALONE).mean["mAP"],
        "free": free,
        "free_mAP": free_figures["mAP"],
    }
    published = published_for(experiment.run, experiment.dataset, queries=len(experiment.query))
    if published:
        keys = [column.key for column in PAPERS]
        row |= dict(zip(keys, published, strict=True))
    return row


def _plot(rows: Sequence[dict[str, Any]], labels: Sequence[str]) -> Plot:
    kinds = {
        "baseline_mAP": "backbone",
        "mAP": "NFormer",
        "alone_mAP": "k = 1",
        "free_mAP": "training-free",
    }
    names, values, errors = [], [], []
    for row, label in zip(rows, labels, strict=True):
        for key, kind in kinds.items():
            names.append(f"{label}: {kind}" if len(rows) > 1 else kind)
            values.append(100 * row[key])
            errors.append(100 * (row["mAP_over_seeds"] or 0) if key == "mAP" else 0.0)
    return Plot(
        title="mAP" if len(rows) > 1 else f"mAP, {labels[0]}",
        x="mAP in %", y="", curves=(Curve("mAP", names, values, errors),), kind="bars",
    )  # fmt: skip
