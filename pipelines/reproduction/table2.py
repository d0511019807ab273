"""Table 2: NFormer and k-reciprocal re-ranking together, on one backbone or several."""

from collections.abc import Sequence
from typing import Any

from ..reporting.tables_and_figures import Column, TableOrFigure
from .control_rows import (
    FIGURES,
    bars,
    control_note,
    control_rows,
    distinct_labels,
    of_figures,
    of_summary,
    own_note,
)
from .experiment import Experiment
from .paper import PAPERS, backbone_of, paper_note, published_for
from .variants import NFORMER

COLUMNS = (
    Column("run", "run"),
    Column("backbone", "backbone"),
    Column("method", "method"),
    *FIGURES,
)


def make(experiments: Sequence[Experiment]) -> TableOrFigure:
    """Return the rows of each run."""
    several = len(experiments) > 1
    labels = distinct_labels(
        [backbone_of(experiment.run) for experiment in experiments], experiments
    )
    rows = []
    for experiment, label in zip(experiments, labels, strict=True):
        for row in _rows_of(experiment):
            rows.append({**row, "label": f"{label}: {row['method']}" if several else row["method"]})
    note = "With one run there is one backbone; another stands beside it with a second --run."
    return TableOrFigure(
        name="table2",
        title="Table 2: NFormer with k-reciprocal re-ranking",
        columns=COLUMNS + (PAPERS if any("paper_mAP" in row for row in rows) else ()),
        rows=rows,
        plots=(bars("mAP, and its deviation over trainings", rows, label="label"),),
        text="mAP: " + ", ".join(f"{row['label']} {100 * row['mAP']:.1f} %" for row in rows) + ".",
        notes=(
            "KR is k-reciprocal re-ranking (k1 = 20, k2 = 6, weight 0.3), which mixes the queries.",
            *([] if several else [note]),
            *dict.fromkeys(
                paper_note(experiment.run, experiment.dataset, queries=len(experiment.query))
                for experiment in experiments
            ),
            "The paper's own figures with KR could not be checked and are left out.",
            control_note(experiments[0]),
            *own_note(experiments[0]),
        ),
    )


def _rows_of(experiment: Experiment) -> list[dict[str, Any]]:
    about = {"run": str(experiment.run.folder), "backbone": backbone_of(experiment.run)}
    own = experiment.own(rerank="kr")
    published = published_for(experiment.run, experiment.dataset, queries=len(experiment.query))
    alone, refined = published.beside() if published else ({}, {})
    return [
        of_figures("none", experiment.baseline(), **about, **alone),
        of_figures("KR", experiment.baseline(rerank="kr"), **about),
        of_summary("NFormer", experiment.measured(NFORMER), **about, **refined),
        of_summary("NFormer + KR", experiment.measured(NFORMER, rerank="kr"), **about),
        *control_rows(experiment, **about),
        *([of_figures("this run's nformer.pt + KR", own, **about)] if own else []),
    ]
