"""Columns, control rows, curves and notes that the paper's tables and figures share."""

from collections.abc import Sequence
from typing import Any

from ..reporting.paper import Beside
from ..reporting.plots import Curve, Plot
from ..reporting.tables_and_figures import Column
from .experiment import Experiment, Figures
from .variants import ALONE

Row = dict[str, Any]
FIGURES = (
    Column("rank1", "rank-1", "percent"),
    Column("mAP", "mAP", "percent"),
)
DEVIATIONS = (
    Column("mAP_over_seeds", "± trainings", "percent"),
    Column("mAP_over_draws", "± draws", "percent"),
)
OWN = "this run's nformer.pt"


def beside(name: str, experiment: Experiment) -> Beside:
    """Return what the paper prints in a table or figure, as it stands beside a run."""
    return Beside.of(name, experiment.dataset, queries=len(experiment.query))


def control_rows(experiment: Experiment, **more: Any) -> list[Row]:
    """Return the rows that an honest reader asks for, and that of the run's own model."""
    name, figures = experiment.training_free()
    own = experiment.own()
    return [
        *([{"method": OWN, **own, **more}] if own else []),
        {"method": "control: NFormer, k = 1", **experiment.measured(ALONE), **more},
        {"method": f"control: training-free, {name}", **figures, **more},
    ]


def compared(before: Figures, after: Figures) -> Row:
    """Return the cells of NFormer beside the backbone, and the difference that it makes."""
    gain = after["mAP"] - before["mAP"]
    return {"baseline_mAP": before["mAP"], **after, "gain": gain}


def control_notes(experiment: Experiment) -> list[str]:
    """Return what the controls and the deviations are, and which model the run's own row is of."""
    settings = experiment.settings
    notes = [
        f"Each NFormer was trained {settings.seeds} times ({experiment.recipe}: "
        f"{experiment.trained_by.steps} steps of {experiment.batch:,} embeddings, all training "
        "identities, the last step kept) and refined "
        f"with {settings.draws} draws of the landmarks: “± trainings” and “± draws” are the "
        "standard deviations of mAP over them. k = 1 leaves each row its own edge only: what the "
        "learned layers give without neighbours. The training-free refiner is the best of all on "
        "this very test set, an advantage that nothing trained has here."
    ]
    if experiment.own_model is not None:
        digest = experiment.run.digest("nformer.pt")[:12]
        notes.append(
            f"“{OWN}” (SHA-256 {digest}…) is as train-nformer made it; the other rows are the "
            "paper's plain NFormer."
        )
    return notes


def curve(
    label: str, rows: Sequence[Row], *, x: str, y: str = "mAP", error: str = "mAP_over_seeds"
) -> Curve:
    """Return a column of the rows in per cent, with a deviation where there is one."""
    errors = [100 * (row.get(error) or 0.0) for row in rows] if error else ()
    return Curve(label, [row[x] for row in rows], [100 * row[y] for row in rows], errors)


def bars(title: str, rows: Sequence[Row], *, label: str = "method") -> Plot:
    """Return the rows' mAP in per cent as bars, with their deviation over trainings."""
    named = [{**row, label: str(row[label]).removeprefix("control: ")} for row in rows]
    curves = (curve("mAP", named, x=label),)
    return Plot(title=title, x="mAP in %", y="", curves=curves, kind="bars")


def distinct_labels(labels: Sequence[str], experiments: Sequence[Experiment]) -> list[str]:
    """Return a label for each run, where two have the same with its folder's name, or a number."""
    names = [experiment.run.folder.resolve().name for experiment in experiments]
    if len(set(names)) < len(names):
        names = [f"run {number + 1}" for number in range(len(experiments))]
    return [
        f"{label} ({name})" if labels.count(label) > 1 else label
        for label, name in zip(labels, names, strict=True)
    ]
