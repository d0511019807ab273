"""Mutual neighbours of a set, the k nearest of each camera or of all, and sums along them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ..neighbours.edges import Edges, edge_dot
from ..neighbours.nearest import nearest_neighbours, search
from ..neighbours.reciprocity import SPARE, mutual, nearest_of, row_numbers, similarity_of
from .base import weighted_sum

FEW_QUERIES = 64  # that are not worth the large search
MOST_PRODUCTS = 1 << 26  # of a few queries with all rows, held at once


@dataclass(frozen=True, eq=False)
class CameraGraph:
    """A set's mutual neighbours, and how near a newcomer must be to be listed.

    lists:  [N, C·k] int64, the k nearest of each camera; columns left free hold the row itself.
    kept:   [N, C·k] bool, the edges: both ends list each other, and not the row itself.
    reach:  [N, C], the similarity of each row's k-th neighbour of each camera; -inf where fewer.
    groups: [N] int64, each row's camera.   cameras: [C] int64, sorted.   neighbours: k.
    """

    lists: Tensor
    kept: Tensor
    reach: Tensor
    groups: Tensor
    cameras: Tensor
    neighbours: int


def camera_graph(
    rows: Tensor, *, groups: Tensor, k: int, similarity: Tensor | None = None
) -> CameraGraph:
    """Return the graph of unit rows [N, d] whose cameras are groups [N].

    similarity: [N, N], each row's own above all others, where it is at hand (cross-validation
    tries hundreds of settings on one); None: the rows are searched.
    """
    cameras = groups.unique()  # sorted
    own = row_numbers(rows)[:, None]
    lists, reach = [], []
    for camera in cameras.tolist():
        members = (groups == camera).nonzero()[:, 0]
        if similarity is not None:
            found, last = _listed(similarity, members, k=k)
        elif len(cameras) == 1:
            found = nearest_neighbours(rows, k)[1]
            last = similarity_of(rows, rows, lists=found[:, -1:])
        else:
            found = members[search(rows, rows[members], k)[1]]
            last = similarity_of(rows, rows, lists=found[:, -1:])
        free = k - found.shape[1]
        lists.append(torch.cat([found, own.expand(-1, free)], dim=1))
        reach.append(last[:, -1] if not free else torch.full_like(last[:, -1], -torch.inf))
    joined = torch.cat(lists, dim=1)
    return CameraGraph(joined, mutual(joined), torch.stack(reach, dim=1), groups, cameras, k)


def query_edges(
    query: Tensor,
    camids: Tensor,
    *,
    rows: Tensor,
    graph: CameraGraph,
    similarity: Tensor | None = None,
    found: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the rows near each query and which of them it reads: [Q, K] int64 and bool.

    query: [Q, d], unit.   camids: [Q] int64.   rows: [N, d], the set's states.
    similarity: [Q, N], where it is at hand.
    found: of each camera the rows [Q, S] int64 that its k nearest are among, where they are known.
    A query reads row j where j is among the k nearest of its camera, the query itself being one
    of those of its own, and where the query would be among the k nearest of j.
    """
    k, cameras = graph.neighbours, graph.cameras
    single = len(cameras) == 1
    number_of = torch.searchsorted(cameras, camids).clamp(max=len(cameras) - 1)
    known = cameras[number_of] == camids if not single else torch.ones_like(camids).bool()
    lists, kept = [], []
    few = similarity is None and found is None and len(query) <= FEW_QUERIES
    product = query @ rows.T if few and len(query) * len(rows) <= MOST_PRODUCTS else None
    for number, camera in enumerate(cameras.tolist()):
        members = (graph.groups == camera).nonzero()[:, 0]
        if similarity is not None:
            near, cosine = _listed(similarity, members, k=k)
        elif found is not None:
            near, cosine = nearest_first(query, rows, lists=found[number], k=k)
        else:
            near, cosine = searched(query, rows, members=members, k=k, product=product)
        own = known & (number_of == number)
        rank = row_numbers(near.T)
        asked = torch.where(known[:, None], number_of[:, None], number).expand_as(near)
        lists.append(near)
        kept.append((rank < (k - own.long())[:, None]) & (cosine > graph.reach[near, asked]))
    return torch.cat(lists, dim=1), torch.cat(kept, dim=1)


def _listed(similarity: Tensor, members: Tensor, *, k: int) -> tuple[Tensor, Tensor]:
    """Return the k nearest members of each row of similarities [M, N], and how near they are."""
    part = similarity if len(members) == similarity.shape[1] else similarity[:, members]
    cosine, found = part.topk(min(k, len(members)), dim=1)
    return members[found], cosine


def searched(
    query: Tensor, rows: Tensor, *, members: Tensor, k: int, product: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the k nearest members of each query, ties by number, and how near they are.

    product: [Q, N], the queries with all rows, where it is at hand: no member's row is copied then.
    """
    wider, whole = k + SPARE, len(members) == len(rows)
    if product is not None:
        part = product if whole else product[:, members]
        place = part.topk(min(wider, len(members)), dim=1)[1]
    else:
        theirs, few = rows if whole else rows[members], len(query) <= FEW_QUERIES
        place = (nearest_of(query, theirs, k=wider) if few else search(query, theirs, wider))[1]
    return nearest_first(query, rows, lists=members[place], k=k)


def nearest_first(query: Tensor, rows: Tensor, *, lists: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k nearest of the rows that each query lists, ties by number, and how near."""
    near = lists.sort(dim=1).values
    cosine, order = similarity_of(query, rows, lists=near).sort(dim=1, descending=True, stable=True)
    return near.gather(1, order)[:, :k], cosine[:, :k]


def read_gallery(
    rows: Tensor, graph: CameraGraph, *, sharpness: float, similarity: Tensor | None = None
) -> Tensor:
    """Return each row's weighted sum with its mutual neighbours, normalised: [N, d] -> [N, d]."""
    listed = graph.lists, graph.kept
    weights = sharpened(rows, rows, listed=listed, sharpness=sharpness, similarity=similarity)
    return read(rows, rows, lists=graph.lists, weights=weights)


def sharpened(
    rows: Tensor,
    sources: Tensor,
    *,
    listed: tuple[Tensor, Tensor],
    sharpness: float,
    similarity: Tensor | None = None,
) -> Tensor:
    """Return the weight [M, K] of each source that a row lists and reads, the row's own being 1.

    Softmax attention whose affinity is sharpness · cosine, the row's own edge included.
    rows: [M, d].   sources: [N, d].   listed: [M, K] int64 and bool.   similarity: [M, N], where
    it is at hand.
    """
    lists, kept = listed
    weights = kept.to(rows.dtype)
    if sharpness and similarity is not None:
        weights *= torch.exp(sharpness * (similarity.gather(1, lists) - 1))
    elif sharpness:
        edges = Edges.of(lists[:, None], kept[:, None], heads=1, sources=len(sources))
        weights[kept] = torch.exp(sharpness * (edge_dot(rows, sources, edges=edges) - 1))
    return weights


class Read(Protocol):
    """Sums rows with the sources that they list."""

    def __call__(self, rows: Tensor, sources: Tensor, *, lists: Tensor, weights: Tensor) -> Tensor:
        """Return the sums [M, d] of rows [M, d] and sources [N, d] by lists and weights [M, K]."""


def read(rows: Tensor, sources: Tensor, *, lists: Tensor, weights: Tensor) -> Tensor:
    """Return each row's sum with the sources that it lists, by weight, normalised: [M, d]."""
    return functional.normalize(rows + weighted_sum(sources, index=lists, weights=weights))
