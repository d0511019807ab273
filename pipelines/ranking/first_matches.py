"""What CMC counts: the rank of a query's first match among images, identities or drawn lists."""

import numpy as np

from ..seeding import numpy_generator
from .matches import Matches


class FirstMatches:
    """Finds the ranks that CMC counts, as the rules have it, query after query."""

    def __init__(self, pairs: Matches, *, seed: int) -> None:
        self.pairs, self.rules = pairs, pairs.rules
        self.generator = numpy_generator(seed, "single shot")
        self.identities = len(np.unique(pairs.pids))

    def of(self, query: int, ranks: np.ndarray, *, nearness: np.ndarray) -> np.ndarray:
        """Return the rank of the first match, [1], or in each drawn list [draws]; [0]: no match.

        ranks: of the true matches among all images, ascending.   nearness: the query's row [G].
        """
        if self.rules.cmc == "images" or not len(ranks):
            return ranks[:1]
        if self.rules.cmc == "identities":
            return np.array([self._among_identities(query, nearness)])
        return self._in_drawn_lists(query, nearness)

    @property
    def longest(self) -> int:
        """The largest rank that there can be."""
        return len(self.pairs.pids) if self.rules.cmc == "images" else self.identities

    def _among_identities(self, query: int, nearness: np.ndarray) -> int:
        """Return the rank where only the first image of each identity counts."""
        matches = np.sort(self.pairs.of(query)[0])
        first = int(matches[np.argmax(nearness[matches])])  # of equal ones the earliest
        before = self.pairs.before(query, first, nearness=nearness)
        return len(np.unique(self.pairs.pids[before])) + 1

    def _in_drawn_lists(self, query: int, nearness: np.ndarray) -> np.ndarray:
        """Return the rank among one image of each identity, drawn of what is not skipped."""
        pairs, order = self.pairs, self.pairs.people.order
        order = order[~np.isin(order, pairs.of(query)[1])]  # gallery rows, by identity
        pids = pairs.pids[order]
        starts = np.flatnonzero(np.diff(pids, prepend=pids[0] - 1))
        counts = np.diff(starts, append=len(order))
        shares = self.generator.random((self.rules.draws, len(starts)))
        chosen = starts + (shares * counts).astype(np.int64)
        drawn = nearness[order[chosen]]  # [draws, identities]
        right = np.flatnonzero(pids[starts] == pairs.query_pids[query])[0]
        own = drawn[:, right : right + 1]
        earlier = order[chosen] < order[chosen[:, right : right + 1]]
        before = (drawn > own) | ((drawn == own) & earlier)
        ranks: np.ndarray = before.sum(axis=1) + 1
        return ranks
