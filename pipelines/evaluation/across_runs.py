"""One method in several runs: what it loses from the first to each, and its mean over all."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import fmean, pstdev

from ..artifacts.results import Evaluation


@dataclass(frozen=True)
class AcrossRuns:
    """Evaluations by the run's folder, in the order given, one at least."""

    results: Mapping[str, Evaluation]

    @property
    def one_set(self) -> bool:
        """Whether all runs are of one data set by its name and rules, or else by its size."""
        every = self.results.values()
        names = {(one.title or one.dataset, one.rules) for one in every}
        sizes = {(one.queries, one.gallery) for one in every}
        return len(names) == 1 and (all(name for name, _ in names) or len(sizes) == 1)

    @property
    def gaps(self) -> dict[str, dict[str, float]]:
        """By run and row, how much lower mAP is than in the first run, where that has the row."""
        first = {row.name: row.mAP for row in next(iter(self.results.values())).results}
        return {
            folder: {
                row.name: first[row.name] - row.mAP for row in result.results if row.name in first
            }
            for folder, result in self.results.items()
        }

    @property
    def means(self) -> dict[str, dict[str, float]]:
        """By row, mean and standard deviation of mAP and rank-1 over runs, if all have the row."""
        names = [{row.name: None for row in result.results} for result in self.results.values()]
        everywhere = [name for name in names[0] if all(name in one for one in names)]
        found = {}
        for name in everywhere:
            rows = [result.row(name) for result in self.results.values()]
            of_map, of_rank = [row.mAP for row in rows], [row.rank1 for row in rows]
            found[name] = {
                "mAP": fmean(of_map),
                "mAP_std": pstdev(of_map),
                "rank1": fmean(of_rank),
                "rank1_std": pstdev(of_rank),
            }
        return found

    def to_json(self) -> str:
        """Return one JSON object: `runs`, each an evaluation with its gaps, and `over_runs`.

        `over_runs`, the means, are empty where the runs are of different data sets.
        """
        runs = [
            {"run": folder, **asdict(result), "gaps": self.gaps[folder]}
            for folder, result in self.results.items()
        ]
        means = self.means if self.one_set else {}
        return json.dumps({"runs": runs, "over_runs": means}, ensure_ascii=False)
