"""The neighbour graphs that refiners and re-rankers share, each built once."""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..embeddings import Embeddings
from ..errors import BadInput
from ..progress import Progress, Silent
from .checked import check_widths, checked_k, own_first, unit_rows
from .exact import least_products
from .nearest import Searched, choose, search_device, searched
from .self_join import self_join

LISTED = 32  # neighbours kept of each item unless more are asked for


@dataclass(frozen=True, eq=False)
class NeighbourGraph:
    """The k nearest of every item, most similar first.

    similarity: [N, k] float32 cosine. index: [N, k] int64. searched: how it was made.
    least: [N] float32, each item's smallest similarity to any; None where not asked for.
    seconds: what it took to make.
    """

    similarity: np.ndarray
    index: np.ndarray
    searched: Searched
    least: np.ndarray | None = None
    seconds: float = 0.0


def neighbour_graph(
    features: np.ndarray,
    k: int,
    *,
    least: bool = False,
    device: str = "auto",
    method: str = "auto",
    progress: Progress | None = None,
) -> NeighbourGraph:
    """Return the graph of one set of features [N, d], each item its own first neighbour."""
    where, on_host = search_device(features, device)
    N = len(features)
    if choose(method, rows=N, columns=N, where=where, k=k, on_host=on_host) != "numpy":
        found = searched(features, None, k=k, device=device, method=method, progress=progress)
        farthest = least_similarity(features, device=where) if least else None
        return NeighbourGraph(*found, least=farthest)
    k = checked_k(k, len(features))
    own = self_join(unit_rows(features, "embeddings"), k, least=least, progress=progress)
    own_first(own.similarity, own.index)
    return NeighbourGraph(own.similarity, own.index, Searched("numpy", "cpu"), own.least)


def least_similarity(features: np.ndarray, *, device: str = "cpu") -> np.ndarray:
    """Return each row's smallest cosine with any row of its set: [N]."""
    if device != "cpu":
        from .on_device import least_on_device

        return least_on_device(features, device)
    return least_products(unit_rows(features, "embeddings"))


class Neighbourhoods:
    """A query and a gallery set, and the graphs between them, built when first asked for.

    Where both are one object, every gallery item is a query too, and what is joint is the gallery.

    The graphs: `gallery` over the gallery alone, `query` from each query into the gallery, and
    `joint` over both sets together, the queries first. `asked` has the names of those used.
    """

    def __init__(
        self,
        query: Embeddings,
        gallery: Embeddings,
        *,
        device: str = "auto",
        method: str = "auto",
        progress: Progress | None = None,
    ) -> None:
        if not len(gallery) or not len(query):
            raise BadInput(
                f"{len(query)} queries and {len(gallery)} gallery items: both are needed"
            )
        check_widths(query.features, gallery.features)
        self.query_items, self.gallery_items = query, gallery
        self.device, self.method, self.progress = device, method, progress or Silent()
        self.graphs: dict[str, NeighbourGraph] = {}
        self.asked: set[str] = set()

    def like(self, query: Embeddings, gallery: Embeddings) -> "Neighbourhoods":
        """Return the neighbourhoods of other sets, searched in the same way."""
        return Neighbourhoods(
            query, gallery, device=self.device, method=self.method, progress=self.progress
        )

    @property
    def one_set(self) -> bool:
        """Whether the queries are the gallery."""
        return self.query_items is self.gallery_items

    @property
    def sides(self) -> tuple[slice, slice]:
        """The rows of the queries and of the gallery in what is joint."""
        queries = slice(0, len(self.query_items))
        return queries, queries if self.one_set else slice(queries.stop, None)

    def alone(self) -> "Neighbourhoods":
        """Return those of the gallery, and of one item of it as a query that is of no matter.

        A gallery that is refined by itself has its queries refined too, where it is one set.
        """
        found = self.like(self.gallery_items.select(np.arange(1)), self.gallery_items)
        if "gallery" in self.graphs:
            found.graphs["gallery"] = self.graphs["gallery"]
        return found

    def gallery(self, k: int) -> NeighbourGraph:
        """Return the gallery's graph with at least min(k, G) neighbours of each item."""
        return self._graph("gallery", k)

    def joint(self, k: int) -> NeighbourGraph:
        """Return the graph over queries and gallery, with each item's least similarity."""
        return self._graph("joint", k)

    def query(self, k: int) -> NeighbourGraph:
        """Return each query's nearest gallery items."""
        return self._graph("query", k)

    def queries_apart(self, k: int) -> np.ndarray:
        """Return the joint lists without edges between queries: [Q + G, min(k, Q + G)] int64.

        A query lists itself and its nearest gallery items, a gallery item whatever is nearest,
        queries among it; places left free hold the row itself.
        """
        lists = self.joint(k).index[:, :k].copy()
        queries = len(self.query_items)
        lists[:queries] = np.arange(queries)[:, None]
        if k > 1:
            near = self.query(k - 1).index[:, : lists.shape[1] - 1]
            lists[:queries, 1 : 1 + near.shape[1]] = queries + near
        return lists

    def joint_rows(self) -> np.ndarray:
        """Return the unit rows of queries and gallery as one array: [Q + G, d]; one set: [G, d]."""
        if self.one_set:
            return unit_rows(self.gallery_items.features, "embeddings")
        return unit_rows(
            np.concatenate([self.query_items.features, self.gallery_items.features]), "embeddings"
        )

    def _graph(self, name: str, k: int) -> NeighbourGraph:
        self.asked.add(name)
        held = self.graphs.get(name)
        joined = name == "joint" and not self.one_set
        size = len(self.gallery_items) + (len(self.query_items) if joined else 0)
        if held is None or held.index.shape[1] < min(k, size):
            begun, k = time.perf_counter(), max(k, LISTED)
            how: dict[str, Any] = {"device": self.device, "method": self.method}
            how["progress"] = self.progress
            query, gallery = self.query_items.features, self.gallery_items.features
            if name == "query":
                held = NeighbourGraph(*searched(query, gallery, k=k, **how))
            else:
                rows = gallery if name == "gallery" else self.joint_rows()
                held = neighbour_graph(rows, k, least=name == "joint", **how)
            held = replace(held, seconds=time.perf_counter() - begun)
            self.graphs[name] = held
        return held
