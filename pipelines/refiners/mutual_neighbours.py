"""Mutual neighbours of a set, the k nearest of each camera or of all, and sums along them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..gallery.graph import SPARE, similarity_of
from ..neighbours.edges import Edges, edge_dot, edge_sum
from ..neighbours.nearest import nearest_neighbours, search
from ..neighbours.reciprocity import nearest_of, reciprocal

FEW = 64  # queries that are not worth the large search


@dataclass(frozen=True, eq=False)
class CameraGraph:
    """A set's mutual neighbours, and how near a newcomer must be to be listed.

    lists:  [N, C·k] int64, the k nearest of each camera; places left free hold the row itself.
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


def camera_graph(rows: Tensor, groups: Tensor, k: int) -> CameraGraph:
    """Return the graph of unit rows [N, d] whose cameras are groups [N]."""
    cameras = groups.unique()  # sorted
    own = torch.arange(len(rows), device=rows.device)[:, None]
    lists, reach = [], []
    for camera in cameras.tolist():
        members = (groups == camera).nonzero()[:, 0]
        if len(cameras) == 1:
            found = nearest_neighbours(rows, k)[1]
        else:
            found = members[search(rows, rows[members], k)[1]]
        far = rows.new_full((len(rows),), -torch.inf)
        if found.shape[1] == k:
            far = similarity_of(rows, rows, found[:, -1:])[:, 0]
        free = own.expand(-1, k - found.shape[1])
        lists.append(torch.cat([found, free], dim=1))
        reach.append(far)
    joined = torch.cat(lists, dim=1)
    kept = reciprocal(joined[:, None])[:, 0] & (joined != own)
    return CameraGraph(joined, kept, torch.stack(reach, dim=1), groups, cameras, k)


def read_gallery(rows: Tensor, graph: CameraGraph, *, sharpness: float) -> Tensor:
    """Return each row's weighted sum with its mutual neighbours, normalised: [N, d] -> [N, d]."""
    lists, kept = graph.lists[:, None], graph.kept[:, None]
    return _read(rows, rows, Edges.of(lists, kept, heads=1, sources=len(rows)), sharpness)


def read_queries(
    query: Tensor, camids: Tensor, rows: Tensor, graph: CameraGraph, *, sharpness: float
) -> Tensor:
    """Return each query's weighted sum with the rows that it would be a mutual neighbour of.

    query: [Q, d], unit.   camids: [Q] int64.   rows: [N, d], the set's states.   returns: [Q, d].
    A query reads row j where j is among the k nearest of its camera, the query itself taking a
    place in its own, and where the query would be among the k nearest of j.
    """
    return read_listed(query, rows, query_edges(query, camids, rows, graph), sharpness=sharpness)


def read_listed(
    query: Tensor, rows: Tensor, listed: tuple[Tensor, Tensor], *, sharpness: float
) -> Tensor:
    """Return each query's weighted sum with the rows that `query_edges` found, normalised."""
    lists, kept = listed
    edges = Edges.of(lists[:, None], kept[:, None], heads=1, sources=len(rows))
    return _read(query, rows, edges, sharpness)


def query_edges(
    query: Tensor, camids: Tensor, rows: Tensor, graph: CameraGraph
) -> tuple[Tensor, Tensor]:
    """Return the rows near each query and which of them it reads: [Q, K] int64 and bool."""
    k, cameras = graph.neighbours, graph.cameras
    single = len(cameras) == 1
    place = torch.searchsorted(cameras, camids).clamp(max=len(cameras) - 1)
    known = cameras[place] == camids if not single else torch.ones_like(camids, dtype=torch.bool)
    lists, kept = [], []
    for number, camera in enumerate(cameras.tolist()):
        members = (graph.groups == camera).nonzero()[:, 0]
        near = members[_near(query, rows[members], k + SPARE)].sort(dim=1).values
        similarity, order = similarity_of(query, rows, near).sort(
            dim=1, descending=True, stable=True
        )
        near, similarity = near.gather(1, order)[:, :k], similarity[:, :k]
        own = known & (place == number)
        rank = torch.arange(near.shape[1], device=near.device)
        keep = rank < (k - own.long())[:, None]
        asked = torch.where(known[:, None], place[:, None], number).expand_as(near)
        lists.append(near)
        kept.append(keep & (similarity > graph.reach[near, asked]))
    return torch.cat(lists, dim=1), torch.cat(kept, dim=1)


def _near(query: Tensor, rows: Tensor, k: int) -> Tensor:
    return nearest_of(query, rows, k)[1] if len(query) <= FEW else search(query, rows, k)[1]


def _read(rows: Tensor, sources: Tensor, edges: Edges, sharpness: float) -> Tensor:
    """Softmax attention whose affinity is sharpness · cosine, own edge included, normalised."""
    weights = torch.exp(sharpness * (edge_dot(rows, sources, edges=edges) - 1))
    return functional.normalize(rows + edge_sum(weights, sources, edges=edges))
