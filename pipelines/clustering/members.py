"""How a row stands in its cluster: which other one is nearest, how sure it is, who represents."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from ..embeddings import row_blocks
from ..neighbours.exact import block_rows
from ..neighbours.graph import NeighbourGraph
from ..seeding import numpy_generator

BLOCK_ROWS = 1024
SAMPLE = 2000  # rows that the separation is a mean over
FARTHEST = 2.0  # distance of opposite rows: 1 less their cosine


@dataclass(frozen=True, eq=False)
class Standing:
    """Distances (1 less cosine, means over pairs of rows) of some rows to clusters: [n] each.

    own:      to the other rows of its cluster; NaN where it is alone.
    nearest:  the nearest other cluster, int64; -1 where there is none.
    distance: to that cluster; NaN where there is none.
    """

    own: np.ndarray
    nearest: np.ndarray
    distance: np.ndarray

    def confidence(self, *, alone: float) -> np.ndarray:
        """Return (b - a) / max(a, b) of a = own, b = distance (the silhouette, Rousseeuw, 1987).

        It is 1 where a row is certain, 0 where two clusters are as near, less where another one
        is nearer.

        alone: the distance at which a row that is alone would have joined another.
        """
        own = np.where(np.isnan(self.own), alone, self.own)
        other = np.where(np.isnan(self.distance), FARTHEST, self.distance)
        larger = np.maximum(np.maximum(own, other), 1e-6)
        found: np.ndarray = np.clip((other - own) / larger, -1, 1)
        return found


def standing(
    rows: np.ndarray, labels: np.ndarray, *, graph: NeighbourGraph, chosen: np.ndarray | None = None
) -> Standing:
    """Return how rows stand in a clustering.

    The nearest other cluster is looked for among those of a row's neighbours; where they are all
    of its own, among all clusters.

    rows: [N, d] float32 of length 1.   labels: [N] from 0.   chosen: [n]; all rows when None.
    """
    chosen = np.arange(len(rows)) if chosen is None else chosen
    sums, sizes = cluster_sums(rows, labels)
    own = np.full(len(chosen), np.nan, np.float32)
    distance, nearest = own.copy(), np.full(len(chosen), -1, np.int64)
    for part in row_blocks(len(chosen), BLOCK_ROWS):
        asked = chosen[part]
        near, mine = rows[asked], labels[asked]  # [b, d], [b]
        others = np.einsum("bd,bd->b", near, sums[mine]) - 1  # the row itself left out
        with np.errstate(invalid="ignore", divide="ignore"):
            own[part] = np.where(sizes[mine] > 1, 1 - others / (sizes[mine] - 1), np.nan)
        lists = graph.index[asked]
        found = np.where(lists >= 0, labels[lists], -1)  # [b, k]
        found[found == mine[:, None]] = -1
        products = np.full(found.shape, -np.inf, np.float32)
        which, place = np.nonzero(found >= 0)
        others_of = found[which, place]
        for some in row_blocks(len(which), BLOCK_ROWS * 16):
            products[which[some], place[some]] = np.einsum(
                "bd,bd->b", near[which[some]], sums[others_of[some]]
            )
        means = products / np.where(found >= 0, sizes[found], 1)
        best = means.argmax(axis=1)
        places = np.arange(len(asked))
        known = found[places, best] >= 0
        nearest[part] = np.where(known, found[places, best], -1)
        distance[part] = np.where(known, 1 - means[places, best], np.nan)
    _look_among_all(rows, labels, chosen=chosen, sums=sums, sizes=sizes, found=(nearest, distance))
    return Standing(own, nearest, distance)


def cluster_sums(rows: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of each cluster's rows, [C, d] float32, and its size, [C]."""
    sizes = np.bincount(labels)
    order = (labels, np.arange(len(rows)))
    members = csr_array((np.ones(len(rows), np.float32), order), shape=(len(sizes), len(rows)))
    return np.asarray(members @ rows), sizes


def representatives(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return each cluster's medoid, the row nearest to all of it on the average: [C] int64."""
    sums, sizes = cluster_sums(rows, labels)
    products = np.concatenate(
        [
            np.einsum("bd,bd->b", rows[part], sums[labels[part]])
            for part in row_blocks(len(rows), BLOCK_ROWS * 16)
        ]
    )
    order = np.lexsort((-products, labels))
    first: np.ndarray = order[np.cumsum(sizes) - sizes]
    return first


def separation(
    rows: np.ndarray, labels: np.ndarray, *, graph: NeighbourGraph, seed: int = 0
) -> float:
    """Return the mean silhouette over a sample of the rows, 0 for those that are alone."""
    drawn = numpy_generator(seed, "rows of a separation").permutation(len(rows))[:SAMPLE]
    found = standing(rows, labels, graph=graph, chosen=np.sort(drawn))
    return float(np.where(np.isnan(found.own), 0, found.confidence(alone=FARTHEST)).mean())


def _look_among_all(
    rows: np.ndarray,
    labels: np.ndarray,
    *,
    chosen: np.ndarray,
    sums: np.ndarray,
    sizes: np.ndarray,
    found: tuple[np.ndarray, np.ndarray],
) -> None:
    """Fill in the nearest other cluster of rows whose neighbours are all of their own."""
    nearest, distance = found
    if len(sizes) < 2:
        return
    left = np.flatnonzero(nearest < 0)
    for part in row_blocks(len(left), block_rows(len(sizes))):
        asked = left[part]
        means = rows[chosen[asked]] @ sums.T / sizes  # [b, C]
        means[np.arange(len(asked)), labels[chosen[asked]]] = -np.inf
        nearest[asked] = means.argmax(axis=1)
        distance[asked] = 1 - means.max(axis=1)
