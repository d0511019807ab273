"""Columns of figures, and the control rows, that the paper's tables share."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..reporting.plots import Curve, Plot
from ..reporting.tables_and_figures import Column
from .experiment import Experiment, Summary
from .measured import Figures
from .variants import ALONE

FIGURES = (
    Column("rank1", "rank-1", "percent"),
    Column("mAP", "mAP", "percent"),
    Column("mAP_over_seeds", "± trainings", "percent"),
    Column("mAP_over_draws", "± draws", "percent"),
)
OWN = "this run's nformer.pt"
K1 = "control: NFormer, k = 1"


def of_figures(method: str, figures: Figures, **more: Any) -> dict[str, Any]:
    """Return a row of something that has neither trainings nor draws."""
    return {"method": method, **figures, **more}


def of_summary(method: str, summary: Summary, **more: Any) -> dict[str, Any]:
    """Return a row of means with their deviations."""
    spread = {"mAP_over_seeds": summary.over_seeds, "mAP_over_draws": summary.over_draws}
    return {"method": method, **summary.mean, **spread, **more}


def control_rows(experiment: Experiment, **more: Any) -> list[dict[str, Any]]:
    """Return the rows that an honest reader asks for, and that of the run's own model."""
    name, figures = experiment.training_free()
    own = experiment.own()
    return [
        *([of_figures(OWN, own, **more)] if own else []),
        of_summary(K1, experiment.measured(ALONE), **more),
        of_figures(f"control: training-free, {name}", figures, **more),
    ]


def control_note(experiment: Experiment) -> str:
    """Return what the controls and the deviations are."""
    settings = experiment.settings
    return (
        f"Each NFormer was trained {settings.seeds} times ({settings.steps} steps of "
        f"{settings.batch} embeddings, all training identities, the last step kept) and refined "
        f"with {settings.draws} draws of the landmarks: “± trainings” and “± draws” are the "
        "standard deviations of mAP over them. k = 1 leaves each row its own edge only: what the "
        "learned layers give without neighbours. The training-free refiner is the best of all on "
        "this very test set, an advantage that nothing trained has here."
    )


def own_note(experiment: Experiment) -> list[str]:
    """Return which model the run's own row is of, where there is such a row."""
    if experiment.own_model is None:
        return []
    digest = experiment.run.digest("nformer.pt")[:12]
    return [
        f"“{OWN}” (SHA-256 {digest}…) is as train-nformer made it; the other rows are the paper's "
        "plain NFormer."
    ]


def bars(title: str, rows: list[dict[str, Any]], *, label: str = "method") -> Plot:
    """Return the rows' mAP in per cent as bars, with their deviation over trainings."""
    curve = Curve(
        "mAP",
        [str(row[label]).removeprefix("control: ") for row in rows],
        [100 * row["mAP"] for row in rows],
        [100 * (row.get("mAP_over_seeds") or 0.0) for row in rows],
    )
    return Plot(title=title, x="mAP in %", y="", curves=(curve,), kind="bars")


def difference(after: Mapping[str, float], before: Mapping[str, float]) -> float:
    """Return the difference in mAP."""
    return after["mAP"] - before["mAP"]


def distinct_labels(labels: Sequence[str], experiments: Sequence[Experiment]) -> list[str]:
    """Return a label for each run, where two have the same with its folder's name, or a number."""
    names = [experiment.run.folder.resolve().name for experiment in experiments]
    if len(set(names)) < len(names):
        names = [f"run {number + 1}" for number in range(len(experiments))]
    return [
        f"{label} ({name})" if labels.count(label) > 1 else label
        for label, name in zip(labels, names, strict=True)
    ]
