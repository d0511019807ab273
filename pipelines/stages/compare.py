"""metrics.json + ranking.h5 of several runs -> their results side by side"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ..artifacts.embeddings import load_embeddings
from ..artifacts.ranking import load_average_precision, load_query_rows
from ..artifacts.results import Evaluation, ResultRow
from ..artifacts.run import Run
from ..errors import BadInput
from ..ranking.bootstrap import Difference, paired_difference
from ..seeding import numpy_generator


@dataclass(frozen=True)
class Compared:
    """One run's result beside the first one's. `difference` is in mAP; None for the first."""

    run: str
    result: ResultRow
    difference: Difference | None


@dataclass(frozen=True)
class Comparison:
    """Several results on the same queries."""

    dataset: str
    queries: int
    rows: tuple[Compared, ...]

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
        return json.dumps(table, ensure_ascii=False)


@dataclass(frozen=True)
class _Scored:
    """A run that was evaluated: average precision by result and query."""

    run: Run
    evaluation: Evaluation
    names: tuple[str, ...]
    precision: dict[str, np.ndarray]

    @staticmethod
    def of(run: Run) -> "_Scored":
        evaluation = Evaluation.read(run.artifact("metrics.json"))
        lists = run.artifact("ranking.h5")
        query = load_embeddings(run.artifact("embeddings.h5"), "query")
        names = tuple(query.names[row] for row in load_query_rows(lists).tolist())
        return _Scored(run, evaluation, names, load_average_precision(lists))


def compare(runs: Sequence[Run], *, results: Sequence[str] = (), seed: int = 0) -> Comparison:
    """Return the runs' results, each with its difference in mAP from the first and how sure it is.

    results: which ones, by name; none: all that each run has.
    The interval is a paired bootstrap over the queries, so all runs must have the same ones.

    Raises:
        MissingArtifact: a run was not evaluated.
        BadInput: no such result, or other queries.
    """
    scored = [_Scored.of(run) for run in runs]
    for one in scored[1:]:
        _require_same_queries(scored[0], one)
    chosen = [(one, name) for one in scored for name in _chosen(one, results)]
    first = _precision(scored[0], chosen[0][0], name=chosen[0][1])
    valid = np.isfinite(first)
    rows = []
    for number, (one, name) in enumerate(chosen):
        difference = None
        if number:
            random = numpy_generator(seed, "compare", number)
            second = _precision(scored[0], one, name=name)
            difference = paired_difference(first[valid], second[valid], random=random)
        rows.append(Compared(str(one.run.folder), one.evaluation.row(name), difference))
    return Comparison(scored[0].evaluation.dataset, int(valid.sum()), tuple(rows))


def _chosen(one: _Scored, results: Sequence[str]) -> list[str]:
    there = [row.name for row in one.evaluation.results]
    for name in results:
        if name not in there:
            raise BadInput(f"{one.run.folder} has no result {name!r}; it has {', '.join(there)}")
    return list(results) or there


def _precision(reference: _Scored, one: _Scored, *, name: str) -> np.ndarray:
    """Return a result's average precision [Q] in the order of the reference's queries."""
    row = {query: number for number, query in enumerate(one.names)}
    return one.precision[name][[row[query] for query in reference.names]]


def _require_same_queries(first: _Scored, other: _Scored) -> None:
    missing = sorted(set(first.names) ^ set(other.names))
    if missing:
        raise BadInput(
            f"{first.run.folder} and {other.run.folder} have other queries: {len(missing)} are in "
            f"one of them only, as {missing[0]}. Runs on the same query set can be compared"
        )
    a, b = first.precision, other.precision
    valid = [np.isfinite(next(iter(values.values()))) for values in (a, b)]
    if valid[0].sum() != valid[1].sum():
        raise BadInput(
            f"{first.run.folder} and {other.run.folder} have other galleries: {valid[0].sum()} and "
            f"{valid[1].sum()} queries have a match"
        )
