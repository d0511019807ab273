"""metrics.json + ranking.h5 of several runs -> their results side by side"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..artifacts.embeddings import open_embeddings
from ..artifacts.ranking import load_average_precision, load_query_rows
from ..artifacts.results import Evaluation, ResultRow
from ..artifacts.run import Run
from ..errors import BadInput
from ..ranking.bootstrap import Difference, paired_difference
from ..reporting.paper import PaperRow, paper_notes, paper_rows
from ..seeding import numpy_generator


@dataclass(frozen=True)
class Compared:
    """One run's result beside the first one's. `difference` is in mAP; None for the first."""

    run: str
    result: ResultRow
    difference: Difference | None


@dataclass(frozen=True)
class Comparison:
    """Several results on the same queries; `notes` say what their comparison takes for granted."""

    dataset: str
    queries: int
    rows: tuple[Compared, ...]
    notes: tuple[str, ...] = ()
    rules: str = "market1501"
    paper: tuple[PaperRow, ...] = ()  # of the paper's figures, where the data set is its own

    def to_json(self) -> str:
        """Return one JSON object, fractions of 1."""
        rows = [
            {
                "run": row.run,
                **asdict(row.result),
                "difference": row.difference._asdict() if row.difference else None,
            }
            for row in self.rows
        ]
        table = {"dataset": self.dataset, "queries": self.queries, "rows": rows}
        table |= {"notes": self.notes, "rules": self.rules}
        table["paper"] = [row._asdict() for row in self.paper]
        return json.dumps(table, ensure_ascii=False)


@dataclass(frozen=True)
class _Scored:
    """A run that was evaluated: what it ranked, and average precision by result and query."""

    run: Run
    evaluation: Evaluation
    query: "_Items"
    gallery: "_Items"
    precision: dict[str, np.ndarray]

    @staticmethod
    def of(run: Run) -> "_Scored":
        evaluation = Evaluation.read(run.artifact("metrics.json"))
        lists = run.artifact("ranking.h5")
        with open_embeddings(run.artifact("embeddings.h5")) as file:
            query = _Items.of(file["query"]).select(load_query_rows(lists))
            gallery = _Items.of(file["gallery"])
        gallery = gallery.select(np.flatnonzero(gallery.pids >= 0))
        return _Scored(run, evaluation, query, gallery, load_average_precision(lists))


@dataclass(frozen=True)
class _Items:
    """Labels of a split: names, identities and cameras, [N] each."""

    names: np.ndarray
    pids: np.ndarray
    camids: np.ndarray

    @staticmethod
    def of(group: Any) -> "_Items":
        return _Items(group["names"].asstr()[:], group["pids"][:], group["camids"][:])

    def select(self, rows: np.ndarray) -> "_Items":
        return _Items(self.names[rows], self.pids[rows], self.camids[rows])

    def by_name(self) -> "_Items":
        return self.select(np.argsort(self.names, kind="stable"))

    @property
    def numbered(self) -> bool:
        """Whether there are no names but rows' numbers."""
        return bool(len(self.names)) and all(NUMBER.fullmatch(name) for name in self.names)


NUMBER = re.compile(r"(?:[a-z]+/)?[0-9]{7}")  # what stands for a name where there is none


def compare(runs: Sequence[Run], *, results: Sequence[str] = (), seed: int = 0) -> Comparison:
    """Return the runs' results, each with its difference in mAP from the first and how sure it is.

    results: which ones, by name; none: all that each run has.
    The interval is a paired bootstrap over the queries, so all runs must have the same ones, with
    the same identities and cameras, and the same gallery.

    Raises:
        MissingArtifact: a run was not evaluated.
        BadInput: no such result, or runs that are not of the same items with the same labels.
    """
    scored = [_Scored.of(run) for run in runs]
    for one in scored[1:]:
        _require_alike(scored[0], one)
    chosen = [(one, name) for one in scored for name in _chosen(one, results)]
    first = _precision(scored[0], chosen[0][0], name=chosen[0][1])
    valid = np.isfinite(first)
    rows = []
    for number, (one, name) in enumerate(chosen):
        difference = None
        if number:
            random = numpy_generator(seed, "compare")  # equal rows get equal intervals
            second = _precision(scored[0], one, name=name)
            difference = paired_difference(first[valid], second[valid], random=random)
        rows.append(Compared(str(one.run.folder), one.evaluation.row(name), difference))
    first_one = scored[0].evaluation
    papers = paper_notes(scored[0].run, queries=first_one.queries)
    return Comparison(
        first_one.dataset,
        int(valid.sum()),
        tuple(rows),
        (*_notes(scored, rows), *papers),
        rules=first_one.rules,
        paper=paper_rows(scored[0].run, queries=first_one.queries),
    )


def _notes(scored: Sequence[_Scored], rows: Sequence[Compared]) -> Iterator[str]:
    first, results = scored[0], [row.result for row in rows]
    if len(rows) > 1:
        yield (
            f"differences are from the first row, {results[0].label} of {rows[0].run}; to have "
            "them from another, name its run first, and its --result first"
        )
    if len(scored) > 1 and (first.query.numbered or first.gallery.numbered):
        yield "the items have no names: row i of one run is taken for row i of the other"
    protocols = sorted({row.protocol or first.evaluation.protocol for row in results})
    if len(protocols) > 1:
        listed = ", ".join(protocols)
        yield f"the rows differ in protocol ({listed}): joint ones mix the queries"


def _chosen(one: _Scored, results: Sequence[str]) -> list[str]:
    named = {row.label: row.name for row in one.evaluation.results}
    there = [*named.values()]
    for name in results:
        if name not in there and name not in named:
            listed = ", ".join(map(repr, named))
            raise BadInput(f"{one.run.folder} has no result {name!r}; it has {listed}")
    return [named.get(name, name) for name in results] or there


def _precision(reference: _Scored, one: _Scored, *, name: str) -> np.ndarray:
    """Return a result's average precision [Q] in the order of the reference's queries."""
    row = {query: number for number, query in enumerate(one.query.names)}
    return one.precision[name][[row[query] for query in reference.query.names]]


def _require_alike(first: _Scored, other: _Scored) -> None:
    """Raise BadInput unless two runs rank the same items, with the same labels."""
    both = f"{first.run.folder} and {other.run.folder}"
    rules = [one.evaluation.rules for one in (first, other)]
    if rules[0] != rules[1]:
        raise BadInput(
            f"{both} were evaluated by different rules, {rules[0]} and {rules[1]}: their figures "
            "are not comparable. Evaluate both with the same --rules"
        )
    for what in ("query", "gallery"):
        a, b = getattr(first, what), getattr(other, what)
        missing = sorted(set(a.names) ^ set(b.names))
        if missing or len(a.names) != len(b.names):
            some = missing[0] if missing else "none by its name"
            kind = "queries" if what == "query" else "galleries"
            raise BadInput(
                f"{both} have different {kind}: {len(missing)} are in one of them only, as {some}. "
                "Runs on the same queries and gallery can be compared"
            )
    for field, what in (("pids", "identities"), ("camids", "cameras")):
        labels = [
            np.concatenate([getattr(items.by_name(), field) for items in (run.query, run.gallery)])
            for run in (first, other)
        ]
        if not _alike(*labels):
            raise BadInput(
                f"{both} have the same items with different {what}: what counts as a match "
                "differs, so an interval would mean nothing. Import both with the same labels"
            )


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether two labellings [N] tell the same items apart, and know the same ones."""
    pairs = np.unique(np.stack([a, b]), axis=1).shape[1]
    same = pairs == len(np.unique(a)) == len(np.unique(b))
    return same and bool(((a < 0) == (b < 0)).all())
