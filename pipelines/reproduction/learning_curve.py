"""From how many identities, images of an identity and steps on NFormer pays: three curves."""

from collections.abc import Sequence

import numpy as np

from ..reporting.plots import Plot
from ..reporting.tables_and_figures import Column, TableOrFigure
from .experiment import Experiment
from .rows import DEVIATIONS, FIGURES, Row, control_notes, control_rows, curve
from .variants import NFORMER, Variant

IDENTITIES = (5, 10, 20, 40, 80, 160, 320, 640)
IMAGES = (2, 4, 8, 16, 32, 64)
STEPS = (10, 25, 50, 100, 200, 400, 800)
TITLES = {"identities": "identities", "images": "images of each", "steps": "steps"}
COLUMNS = (
    Column("varied", "fewer"),
    *(Column(key, title, "count") for key, title in TITLES.items()),
    *(*FIGURES, *DEVIATIONS),
    Column("gain", "over backbone", "points"),
    Column("over_free", "over training-free", "points"),
)


def variants(experiment: Experiment) -> list[Variant]:
    """Return NFormers that learn from fewer identities, fewer images of each, or fewer steps."""
    whole = _whole(experiment)
    return [
        *(Variant(identities=count) for count in IDENTITIES if count < whole["identities"]),
        *(Variant(images=count) for count in IMAGES if count < whole["images"]),
        *(Variant(steps=count) for count in STEPS if count < whole["steps"]),
    ]


def make(experiments: Sequence[Experiment]) -> TableOrFigure:
    """Return the curves of the first run."""
    experiment = experiments[0]
    whole, backbone = _whole(experiment), experiment.baseline()
    free, freely = experiment.training_free()
    everything = {"method": "all of it", **experiment.measured(NFORMER), **whole}
    rows: list[Row] = [everything]
    for variant in variants(experiment):
        varied = next(key for key in TITLES if getattr(variant, key))
        row = {**whole, varied: getattr(variant, varied), **experiment.measured(variant)}
        rows.append({"varied": TITLES[varied], **row})
    for row in rows:
        row["gain"] = row["mAP"] - backbone["mAP"]
        row["over_free"] = row["mAP"] - freely["mAP"]
    everything["varied"] = "nothing: all of it"
    curves = {key: [row for row in rows if row["varied"] == TITLES[key]] for key in TITLES}
    controls = [
        {**row, "varied": row["method"], "gain": row["mAP"] - backbone["mAP"]}
        for row in control_rows(experiment)
    ]
    levels = {"backbone": 100 * backbone["mAP"], f"training-free: {free}": 100 * freely["mAP"]}
    return TableOrFigure(
        name="learning_curve",
        title="Learning curve: what NFormer gains by how much it learns from",
        columns=COLUMNS,
        rows=[*rows, *controls],
        plots=[
            Plot(
                title=f"mAP by {TITLES[key]}", x=f"{TITLES[key]} to learn from", y="mAP in %",
                curves=(curve("NFormer", [*found, everything], x=key),), levels=levels, log="x",
            )
            for key, found in curves.items()
        ],
        text=" ".join(
            _pays([*found, everything], key, trainings=len(experiment.seeds))
            for key, found in curves.items()
        ),
        notes=(
            "The backbone, and so the embeddings, are the same in every row: it was trained on all "
            "identities. Fewer identities or images are drawn at random, for each training anew, "
            "smaller draws within larger ones; a step's batch is no larger than what is drawn.",
            *control_notes(experiment),
        ),
    )  # fmt: skip


def _whole(experiment: Experiment) -> dict[str, int]:
    """Return how much there is: identities, the most images of one, and steps."""
    if experiment.train is None:
        return {"identities": 0, "images": 0, "steps": 0}
    counts = np.unique(experiment.train.pids, return_counts=True)[1]
    most = {"identities": len(counts), "images": int(counts.max())}
    return most | {"steps": experiment.trained_by.steps}


def _pays(rows: Sequence[Row], key: str, *, trainings: int) -> str:
    """Say from where on the gain is larger than twice its standard error, and stays so.

    The deviations are those of a population of `trainings`; one training has none.
    """
    errors = 2 / np.sqrt(max(1, trainings - 1))
    from_here: int | None = None
    for row in reversed(rows):
        if row["gain"] <= errors * (row["mAP_over_seeds"] or 0.0):
            break
        from_here = row[key]
    if from_here is None:
        return f"By {TITLES[key]}, NFormer is at no point surely above the backbone."
    sure = " by more than twice its standard error" if trainings > 1 else ""
    return f"NFormer is above the backbone{sure} from {from_here} {TITLES[key]} on."
