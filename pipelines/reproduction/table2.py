"""Table 2: NFormer and k-reciprocal re-ranking together, on one backbone or several."""

from collections.abc import Sequence
from typing import Any

from ..reporting.tables_and_figures import Column, TableOrFigure
from .paper import PAPERS, backbone_of, paper_note, published_for
from .rows import (
    FIGURES,
    bars,
    control_note,
    control_rows,
    of_figures,
    of_summary,
    own_note,
    told_apart,
)
from .variants import NFORMER
from .workshop import Workshop

COLUMNS = (
    Column("run", "run"),
    Column("backbone", "backbone"),
    Column("method", "method"),
    *FIGURES,
)


def make(shops: Sequence[Workshop]) -> TableOrFigure:
    """Return the rows of each run."""
    several = len(shops) > 1
    labels = told_apart([backbone_of(shop.run) for shop in shops], shops)
    rows = []
    for shop, label in zip(shops, labels, strict=True):
        for row in _rows_of(shop):
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
                paper_note(shop.run, shop.dataset, queries=len(shop.query)) for shop in shops
            ),
            "The paper's own figures with KR could not be checked and are left out.",
            control_note(shops[0]),
            *own_note(shops[0]),
        ),
    )


def _rows_of(shop: Workshop) -> list[dict[str, Any]]:
    about = {"run": str(shop.run.folder), "backbone": backbone_of(shop.run)}
    own = shop.own(rerank="kr")
    published = published_for(shop.run, shop.dataset, queries=len(shop.query))
    alone, refined = published.beside() if published else ({}, {})
    return [
        of_figures("none", shop.baseline(), **about, **alone),
        of_figures("KR", shop.baseline(rerank="kr"), **about),
        of_summary("NFormer", shop.measured(NFORMER), **about, **refined),
        of_summary("NFormer + KR", shop.measured(NFORMER, rerank="kr"), **about),
        *control_rows(shop, **about),
        *([of_figures("this run's nformer.pt + KR", own, **about)] if own else []),
    ]
