"""What every refiner is given and returns, and the few steps that they share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

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


def with_rows(near: Neighbourhoods, query: np.ndarray, *, gallery: np.ndarray) -> Pair:
    """Return the items with other features."""
    return near.query_items.with_features(query), near.gallery_items.with_features(gallery)


def split_rows(near: Neighbourhoods, rows: np.ndarray) -> Pair:
    """Return the items with the features of both sets in one array, the queries first."""
    queries = len(near.query_items)
    return with_rows(near, rows[:queries], gallery=rows[queries:])


def weighted_sum(rows: Any, *, index: Any, weights: Any) -> Any:
    """Return the sum of the rows that each list names, by weight.

    rows: [N, d], numpy or torch. index: [M, k] int64. weights: [M, k], 0 where an entry does not
    count. returns: [M, d] float32.
    """
    if not isinstance(rows, np.ndarray):
        from ..neighbours.edges import Edges, edge_sum

        kept = weights != 0
        edges = Edges.of(index[:, None], kept[:, None], heads=1, sources=len(rows))
        return edge_sum(weights[kept], rows, edges=edges)
    from scipy.sparse import csr_array

    M, k = index.shape
    matrix = csr_array(
        (weights.ravel().astype(np.float32), index.ravel(), np.arange(M + 1) * k),
        shape=(M, len(rows)),
    )
    return matrix @ rows  # [M, N] x [N, d] -> [M, d]
