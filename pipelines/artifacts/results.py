"""metrics.json: the one object that terminal, JSON, CSV and report show."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BadInput

FIGURES = ("mAP", "mINP", "rank1", "rank5", "rank10")  # of every result
# Titles of figures in narrow tables; rankN is R-N, recall@N R@N, and others are what they are.
SHORT = {"accuracy": "1-NN", "balanced accuracy": "bal. 1-NN"}


def short_title(figure: str) -> str:
    """Return a figure's title in a narrow table."""
    return SHORT.get(figure, figure.replace("rank", "R-").replace("recall@", "R@"))


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One method's figures, as fractions of 1. `seconds` is for refining, ranking and scoring."""

    name: str
    mAP: float
    mINP: float
    rank1: float
    rank5: float
    rank10: float
    seconds: float
    protocol: str = ""  # "joint" where the method mixes queries by definition
    std: dict[str, float] = field(default_factory=dict)  # over landmark draws, where there are many
    extra: dict[str, Any] = field(default_factory=dict)  # "figures": those of its rules besides

    def figure(self, name: str) -> float:
        """Return a figure by the name that rules have for it; NaN where it was not computed."""
        if name in FIGURES:
            return float(getattr(self, name))
        return float(self.extra.get("figures", {}).get(name, math.nan))

    @property
    def label(self) -> str:
        """The name, `nformer` in it replaced by what the model is: a closed form, for example."""
        return self.name.replace("nformer", str(self.extra.get("kind") or "nformer"))


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What one `nformer evaluate` measured."""

    dataset: str
    protocol: str
    seed: int
    queries: int
    valid_queries: int
    gallery: int
    peak_rss_mib: float
    results: tuple[ResultRow, ...]
    notes: tuple[str, ...] = ()
    rules: str = "market1501"  # whom a query was compared with
    figures: tuple[str, ...] = FIGURES  # the usual ones of these rules
    title: str = ""  # the data set as people call it
    domain: dict[str, Any] | None = None  # whether the gallery looks like NFormer's training set

    @property
    def labels(self) -> dict[str, str]:
        """The label of every row by its name."""
        return {row.name: row.label for row in self.results}

    def row(self, name: str) -> ResultRow:
        """Return the row called `name`."""
        return next(row for row in self.results if row.name == name)

    def to_json(self) -> str:
        """Return one JSON object, fractions of 1."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> "Evaluation":
        """Read what `to_json` wrote."""
        table = json.loads(text)
        rows = tuple(ResultRow(**row) for row in table.pop("results"))
        lists = {name: tuple(table[name]) for name in ("notes", "figures") if name in table}
        return Evaluation(**{**table, **lists, "results": rows})

    @staticmethod
    def read(path: Path) -> "Evaluation":
        """Read metrics.json; BadInput when it is not ours."""
        try:
            return Evaluation.from_json(path.read_text(encoding="utf-8"))
        except (ValueError, TypeError, KeyError) as error:
            raise BadInput(f"{path} holds no evaluation of ours ({error})") from error
