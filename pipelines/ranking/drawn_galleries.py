"""Figures over several galleries that rules draw of one: the distances within each, the means."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .ranked_lists import Ranking
from .rules import Selection

if TYPE_CHECKING:
    from .metrics import Distances, Metrics


class PartOfDistances:
    """Distances between some queries and some of the gallery."""

    def __init__(self, distances: "np.ndarray | Distances", part: Selection) -> None:
        self.distances, self.part = distances, part
        self.shape = (len(part.query), len(part.gallery))

    def rows(self, block: slice) -> np.ndarray:
        """Return the distances [B, G] of the queries in one slice."""
        wanted = self.part.query[block]
        if isinstance(self.distances, np.ndarray):
            return self.distances[wanted][:, self.part.gallery]
        first, last = int(wanted[0]), int(wanted[-1]) + 1
        return self.distances.rows(slice(first, last))[wanted - first][:, self.part.gallery]


def merged(found: "Sequence[Metrics]", chosen: Sequence[Selection], *, queries: int) -> "Metrics":
    """Return the means of the metrics of several galleries drawn of one.

    chosen: the rows of each, of the whole sets; so are the rows of what is returned.
    """
    length = min(len(one.cmc) for one in found)
    means = {
        name: np.array([one.figures[name] for one in found], float) for name in found[0].figures
    }

    def of_queries(values: "Sequence[np.ndarray]") -> np.ndarray:
        """Return the mean over the galleries of what each query has, [Q]; NaN where none has."""
        total, count = np.zeros(queries), np.zeros(queries)
        for one, part in zip(values, chosen, strict=True):
            known = np.isfinite(one)
            total[part.query[known]] += one[known]
            count[part.query[known]] += 1
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    ap = of_queries([one.average_precision for one in found])
    first = np.zeros(queries, np.int64)
    for one, part in zip(reversed(found), reversed(chosen), strict=True):
        known = one.first_match > 0
        first[part.query[known]] = one.first_match[known]
    return replace(
        found[0],
        mean_ap=float(np.mean([one.mean_ap for one in found])),
        mean_inp=float(np.mean([one.mean_inp for one in found])),
        cmc=np.mean([one.cmc[:length] for one in found], axis=0),
        queries=queries,
        valid_queries=int(np.isfinite(ap).sum()),
        average_precision=ap,
        inverse_negative_penalty=of_queries([one.inverse_negative_penalty for one in found]),
        first_match=first,
        tpr_at_fpr={
            rate: float(np.mean([one.tpr_at_fpr[rate] for one in found]))
            for rate in found[0].tpr_at_fpr
        },
        ranking=_first_lists(found, chosen, queries=queries),
        figures={name: float(values.mean()) for name, values in means.items()},
        deviation={name: float(values.std()) for name, values in means.items()}
        if len(found) > 1
        else {},
    )


def _first_lists(
    found: "Sequence[Metrics]", chosen: Sequence[Selection], *, queries: int
) -> Ranking | None:
    """Return each query's list in the first gallery that it is asked of, rows of the whole one."""
    if any(one.ranking is None for one in found):
        return None
    width = min(one.ranking.index.shape[1] for one in found if one.ranking)
    whole = Ranking(
        np.full((queries, width), -1, np.int64),
        np.full((queries, width), -np.inf, np.float32),
        np.zeros((queries, width), bool),
    )
    for one, part in zip(reversed(found), reversed(chosen), strict=True):
        assert one.ranking is not None
        index = one.ranking.index[:, :width]
        whole.index[part.query] = np.where(index < 0, -1, part.gallery[index])
        whole.nearness[part.query] = one.ranking.nearness[:, :width]
        whole.match[part.query] = one.ranking.match[:, :width]
    return whole
