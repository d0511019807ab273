"""The figures that the paper prints (paper.toml), and whether a run is of one of its data sets.

Wang et al., "NFormer: Robust Person Re-identification with Neighbor Transformer", CVPR 2022.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ..artifacts.run import Run
from ..data.catalogue import entry
from ..errors import BadInput
from .tables_and_figures import Column

PAPER = "Wang et al., CVPR 2022"
DATASETS = ("market1501", "dukemtmcreid", "msmt17", "cuhk03-labelled", "cuhk03-detected")
MARKET, DUKE = 19_281, 19_889  # query and gallery images, the sets of Table 1
TITLES = {"rank1": "rank-1", "mAP": "mAP", "baseline_mAP": "backbone mAP", "gain": "gain"}


@cache
def printed(name: str) -> dict[str, Any]:
    """Return what a table or figure of the paper prints: data set -> row -> figures in per cent."""
    tables = tomllib.loads((Path(__file__).parent / "paper.toml").read_text(encoding="utf-8"))
    found: dict[str, Any] = tables[name]
    return found


@dataclass(frozen=True)
class Beside:
    """Which of the paper's figures stand beside ours in a table or figure.

    Where the run is of one of its data sets, those of that one; else those of every data set that
    the table has, named as such.
    """

    name: str
    datasets: tuple[str, ...]
    own: bool

    @staticmethod
    def of(name: str, dataset: str, *, queries: int) -> "Beside":
        """Return what stands beside a run of `dataset` with so many queries."""
        there = tuple(one for one in DATASETS if one in printed(name))
        own = dataset in there and is_the_papers(dataset, queries)
        return Beside(name, (dataset,) if own else there, own)

    def columns(self, *figures: str) -> tuple[Column, ...]:
        """Return the columns of some figures, data set by data set."""
        return tuple(
            Column(
                f"{self._prefix(dataset)}_{figure}",
                TITLES[figure],
                "points" if figure == "gain" else "percent",
                "paper" if self.own else f"paper, {entry(dataset).title}",
            )
            for dataset in self.datasets
            for figure in figures
        )

    def cells(self, row: object) -> dict[str, float]:
        """Return the cells of a row, fractions of 1; those that the paper leaves empty lack."""
        return {
            f"{self._prefix(dataset)}_{figure}": round(value / 100, 5)
            for dataset in self.datasets
            for figure, value in printed(self.name)[dataset].get(str(row), {}).items()
        }

    def levels(self, row: object, label: str) -> dict[str, float]:
        """Return the mAP of a row in per cent as a line for a plot, of the run's own data set."""
        shown = self.cells(row) if self.own else {}
        return {f"paper: {label}": 100 * shown["paper_mAP"]} if "paper_mAP" in shown else {}

    @property
    def note(self) -> str:
        """What of the paper stands here, and what to know of it."""
        where = "" if self.own else ", of its own data sets, not of this one"
        there = "the paper's figures" if self.datasets else "the paper"
        return f"Beside ours: {there}{where} ({PAPER}). {printed(self.name)['note']}"

    def _prefix(self, dataset: str) -> str:
        return "paper" if self.own else f"paper_{dataset}"


class PaperRow(NamedTuple):
    """A row of the paper's: the method, and rank-1 and mAP as fractions of 1."""

    method: str
    rank1: float
    mAP: float


def paper_rows(run: Run, *, queries: int) -> tuple[PaperRow, ...]:
    """Return the paper's rows for a run of one of its data sets, in Table 2 or else Table 4.

    They are of the run's backbone where the paper has it, else of ResNet-50, which each is named.
    """
    dataset = str(run.facts("embeddings.h5").get("dataset", ""))
    if not (dataset in DATASETS and is_the_papers(dataset, queries)):
        return ()
    known = "abdnet" if backbone_of(run) == "abdnet" else "resnet50"
    if dataset in printed("table2"):
        rows = {
            row.removeprefix(f"{known}: ").replace("none", "backbone"): figures
            for row, figures in printed("table2")[dataset].items()
            if row.startswith(known)
        }
    else:
        name = {"abdnet": "ABDNet", "resnet50": "Res50"}[known]
        table = printed("table4")[dataset]
        rows = {"backbone": table[name], "NFormer": table[f"{name}+NFormer"]}
    return tuple(
        PaperRow(f"paper, {known}: {method}", one["rank1"] / 100, one["mAP"] / 100)
        for method, one in rows.items()
    )


def paper_notes(run: Run, *, queries: int) -> tuple[str, ...]:
    """Return what to know of `paper_rows`: where the paper's tables contradict each other."""
    rows = paper_rows(run, queries=queries)
    if run.facts("embeddings.h5").get("dataset") != "dukemtmcreid":
        return ()
    others = any(row.method.startswith("paper, resnet50") for row in rows)
    return (f"The paper's rows are those of its Table 2. {printed('table1')['note']}",) * others


def backbone_of(run: Run) -> str:
    """Return the network that made a run's embeddings, or "imported"."""
    manifest = run.manifest("backbone.pt")
    embeddings = run.manifest("embeddings.h5")
    if manifest is None or embeddings is None or "backbone.pt" not in embeddings.inputs:
        return "imported"
    return str(manifest.config.get("arch", "unknown"))


def is_the_papers(dataset: str, queries: int) -> bool:
    """Return whether a test set is the paper's: by its name, and by its number of queries."""
    try:
        counts = entry(dataset).counts
    except BadInput:
        return False
    return "query" in counts and counts["query"].images == queries
