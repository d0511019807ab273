"""Table 1: what an ordinary transformer and NFormer add to the backbone, and what they cost."""

from collections.abc import Sequence
from typing import Any

from ..reporting.tables_and_figures import Column, TableOrFigure
from .control_rows import (
    FIGURES,
    bars,
    control_note,
    control_rows,
    of_figures,
    of_summary,
    own_note,
)
from .experiment import Experiment
from .flops import counted_flops_a_person, flops_a_person, search_flops_a_person
from .paper import (
    MARKET,
    NFORMER_GFLOPS,
    PAPERS,
    TRANSFORMER_GFLOPS,
    is_the_papers,
    paper_note,
    published_for,
)
from .variants import NFORMER, ORDINARY, Variant

COLUMNS = (
    Column("method", "method"),
    *FIGURES,
    Column("gflops", "GFLOPs a person", "number"),
    Column("gflops_counted", "torch's count", "number"),
)
PAPERS_COST = Column("paper_gflops", "paper GFLOPs", "number")


def make(experiments: Sequence[Experiment]) -> TableOrFigure:
    """Return the table of the first run."""
    experiment = experiments[0]
    queries = len(experiment.query)
    published = published_for(experiment.run, experiment.dataset, queries=queries)
    beside: list[dict[str, Any]] = [{}, {}, {}]
    if published:
        beside[0], beside[2] = published.beside()
    if published and is_the_papers("market1501", queries):
        beside[1]["paper_gflops"] = TRANSFORMER_GFLOPS
        beside[2]["paper_gflops"] = NFORMER_GFLOPS
    costs = {variant: _cost(experiment, variant) for variant in (ORDINARY, NFORMER)}
    rows = [
        of_figures("backbone", experiment.baseline(), **beside[0]),
        of_summary(
            "+ ordinary transformer", experiment.measured(ORDINARY), **costs[ORDINARY], **beside[1]
        ),
        of_summary("+ NFormer", experiment.measured(NFORMER), **costs[NFORMER], **beside[2]),
        *control_rows(experiment),
    ]
    return TableOrFigure(
        name="table1",
        title="Table 1: backbone, ordinary transformer, NFormer",
        columns=COLUMNS + ((*PAPERS, PAPERS_COST) if published else ()),
        rows=rows,
        plots=(bars("mAP, and its deviation over trainings", rows),),
        text=_told(rows),
        notes=(
            paper_note(experiment.run, experiment.dataset, queries=queries),
            control_note(experiment),
            *own_note(experiment),
            _cost_note(experiment, costs),
        ),
    )


def _cost(experiment: Experiment, variant: Variant) -> dict[str, float]:
    """Return GFLOPs a person at the test set's size, by formula and by torch's counter."""
    rows, dim = len(experiment.query) + len(experiment.gallery), experiment.query.dim
    return {
        "gflops": flops_a_person(variant, rows, dim=dim) / 1e9,
        "gflops_counted": counted_flops_a_person(variant, rows, dim=dim) / 1e9,
    }


def _told(rows: Sequence[dict[str, Any]]) -> str:
    figures = {row["method"]: 100 * row["mAP"] for row in rows}
    return "mAP: " + ", ".join(f"{name} {value:.1f} %" for name, value in figures.items()) + "."


def _cost_note(experiment: Experiment, costs: dict[Variant, dict[str, float]]) -> str:
    """Explain the paper's two figures by ours at the size of its test set."""
    dim, rows = experiment.query.dim, len(experiment.query) + len(experiment.gallery)
    ordinary, ours = (
        flops_a_person(variant, MARKET, dim=256) / 1e9 for variant in (ORDINARY, NFORMER)
    )
    search = search_flops_a_person(rows, dim=dim) / 1e9
    apart = max(abs(cost["gflops_counted"] / cost["gflops"] - 1) for cost in costs.values())
    return (
        "GFLOPs count a multiplication and an addition as two, for one person of "
        f"{rows:,}, without the search for neighbours ({search:.2g} by comparing with all, once). "
        f"Formula and torch's counter (on the layers written plainly) agree within "
        f"{100 * apart:.1f} %. The paper's {TRANSFORMER_GFLOPS} against {NFORMER_GFLOPS}: at "
        f"Market-1501's {MARKET:,} rows of 256 the formula gives {ordinary:.3f} for the ordinary "
        f"transformer, as the paper has, and {ours:.4f} for NFormer, twice the paper's; counted as "
        f"one operation it is {ours / 2:.4f}. So the two seem to be counted differently, and the "
        f"ratio is {ordinary / ours:.0f}, not {TRANSFORMER_GFLOPS / NFORMER_GFLOPS:.0f}. Nearly "
        "all of NFormer's is the projections and the feed-forward network, which both have."
    )
