"""A gallery's cosine graph, and where a query or a new item joins it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..neighbours.edges import Edges
from ..neighbours.nearest import nearest_neighbours, search
from ..neighbours.reciprocity import SPARE, nearest_of, similarity_of
from ..nformer.layerwise import fill_up
from ..nformer.model import NFormer
from ..progress import Progress, Silent

FEW = 64  # queries
Known = Callable[[int], np.ndarray]  # from k to lists [N, k or more] that were searched before


@dataclass(frozen=True, eq=False)
class GalleryGraph:
    """A gallery's cosine graph, and how near a newcomer must be to be listed by each row.

    lists: [G, min(k, G)] int64, the nearest of each row, itself first.   kept: bool, its edges.
    reach: [G], the similarity of each row's k-th neighbour.
    All are None where there is no mask, or where each layer makes its own graph.
    """

    lists: Tensor | None
    kept: Tensor | None
    reach: Tensor | None
    heads: int

    @property
    def edges(self) -> Edges | None:
        """The edges kept, for every head alike."""
        if self.lists is None or self.kept is None:
            return None
        lists, kept = self.lists[:, None], self.kept[:, None]
        return Edges.of(lists, kept, heads=self.heads, sources=len(lists))


def gallery_graph(
    model: NFormer,
    rows: Tensor,
    *,
    known: Known | None = None,
    method: str = "auto",
    progress: Progress = Silent(),
) -> GalleryGraph:
    """Return the cosine graph of a prepared set, [N, d].

    known:  gives the lists [N, k] of the nearest, each row first in its own, where these have been
            searched before.   method: how else they are, as for `search`.
    """
    if model.mask == "none" or model.graph == "affinity" or not len(model.blocks):
        return GalleryGraph(None, None, None, model.heads)
    if known is not None:
        lists = torch.from_numpy(known(model.neighbours)[:, : model.neighbours]).to(rows.device)
    else:
        lists = nearest_neighbours(rows, model.neighbours, method=method, progress=progress)[1]
    reach = rows.new_full((len(rows),), -torch.inf)
    if lists.shape[1] == model.neighbours:
        reach = similarity_of(rows, rows, lists=lists[:, -1:])[:, 0]
    return GalleryGraph(lists, model.kept(lists[:, None])[:, 0], reach, model.heads)


def query_lists(
    model: NFormer,
    query: Tensor,
    *,
    count: int,
    gallery: Tensor,
    graph: GalleryGraph,
    known: Known | None = None,
    method: str = "auto",
) -> tuple[Tensor, Tensor] | None:
    """Return the gallery items near each query and which it reads: none depends on another query.

    query: [Q', d], the first `count` rows being queries and the rest filling, which reads nothing.
    known, method: as for `gallery_graph`, from each query to the gallery.
    returns: [Q', min(k - 1, G)] int64 and bool; None where each layer makes its own graph.
    """
    if graph.reach is None:
        return None
    k = model.neighbours - 1 + SPARE
    if known is not None:
        lists = torch.from_numpy(known(k)[:, :k]).to(query.device)
    else:
        lists = _near(query[:count], gallery, k=k, method=method)
    lists = functional.pad(lists.sort(dim=1).values, (0, 0, 0, len(query) - count))
    similarity, order = similarity_of(query, gallery, lists=lists).sort(
        dim=1, descending=True, stable=True
    )
    lists = lists.gather(1, order)[:, : model.neighbours - 1]
    kept = torch.ones_like(lists, dtype=torch.bool)
    if model.mask == "reciprocal":
        kept = similarity[:, : model.neighbours - 1] > graph.reach[lists]
    kept[count:] = False
    return lists, kept


def _near(query: Tensor, gallery: Tensor, *, k: int, method: str) -> Tensor:
    """Return the k items nearest to each query; a few queries are not worth the large search."""
    if len(query) <= FEW:
        return nearest_of(query, gallery, k=k)[1]
    return search(query, gallery, k, method=method)[1]


def edges_to_read(
    items: Tensor, lists: tuple[Tensor, Tensor], *, heads: int
) -> tuple[Tensor, Edges]:
    """Return the items [M, d] that rows read, of all [G, d], and the edges to these alone.

    lists: [Q', K] items and whether each is read.
    """
    near, kept = lists
    used, place = near[kept].unique(return_inverse=True)
    compact = torch.zeros_like(near)
    compact[kept] = place
    read = fill_up(items[used])
    return read, Edges.of(compact[:, None], kept[:, None], heads=heads, sources=len(read))
