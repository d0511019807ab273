"""What every refiner is given and returns, and the few steps that they share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from ..embeddings import Embeddings
from ..neighbours.checked import unit_rows
from ..neighbours.graph import Neighbourhoods

RefineProtocol = Literal["isolated", "joint"]
Pair = tuple[Embeddings, Embeddings]  # query, gallery


class Refine(Protocol):
    """Makes other features for the same items."""

    def __call__(
        self, near: Neighbourhoods, *, protocol: RefineProtocol, train: Embeddings | None
    ) -> Pair:
        """Return the refined query and gallery.

        near: both sets and their graphs. protocol: `isolated`, where a query's result depends on
        no other query, or `joint`. train: embeddings of known identities, where they are needed.
        """


@dataclass(frozen=True)
class Refiner:
    """A way to refine features without training a network.

    title: for tables. source: where it is published. needs_train: fitted on training identities.
    needs_cameras: every item's camera must be known.
    """

    name: str
    title: str
    source: str
    refine: Refine
    needs_train: bool = False
    needs_cameras: bool = False


SetRefine = Callable[[np.ndarray, np.ndarray], np.ndarray]


def both_rows(near: Neighbourhoods) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit rows of the queries [Q, d] and of the gallery [G, d]."""
    return (
        unit_rows(near.query_items.features, "query"),
        unit_rows(near.gallery_items.features, "gallery"),
    )


def with_rows(near: Neighbourhoods, query: np.ndarray, gallery: np.ndarray) -> Pair:
    """Return the items with other features."""
    return near.query_items.with_features(query), near.gallery_items.with_features(gallery)


def split_rows(near: Neighbourhoods, rows: np.ndarray) -> Pair:
    """Return the items with the features of both sets in one array, the queries first."""
    queries = len(near.query_items)
    return with_rows(near, rows[:queries], rows[queries:])


def weighted_sum(rows: np.ndarray, index: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the sum of the rows that each list names, by weight.

    rows: [N, d]. index: [M, k] int64. weights: [M, k], 0 where an entry does not count.
    returns: [M, d] float32.
    """
    from scipy.sparse import csr_array

    M, k = index.shape
    matrix = csr_array(
        (weights.ravel().astype(np.float32), index.ravel(), np.arange(M + 1) * k),
        shape=(M, len(rows)),
    )
    return matrix @ rows  # [M, N] x [N, d] -> [M, d]


def mutual(index: np.ndarray, k: int) -> np.ndarray:
    """Return which entries [N, K] of a set's lists are listed back within the first k: bool."""
    found = np.zeros(index.shape, bool)
    for start in range(0, len(index), 4096):
        part = index[start : start + 4096]
        me = np.arange(start, start + len(part))
        found[start : start + 4096] = (index[part, :k] == me[:, None, None]).any(axis=2)
    return found
