"""What a worker does with a block of queries, each of which reads the gallery alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..gallery.graph import GalleryGraph
from ..gallery.refinement import GalleryState
from ..gallery.states import refine_prepared
from ..neighbours.reciprocity import SPARE
from ..refiners.edge_gate import NEAREST, joined
from ..refiners.mutual_neighbours import CameraGraph, query_edges, read, sharpened
from .gallery_steps import GatedParts, Halo, ModelFile, tensor
from .parts import Arrays, Parts
from .search import Columns


@dataclass(frozen=True)
class GraphParts:
    """What queries need of a `CameraGraph` in files: see there."""

    reach: Parts
    groups: Parts
    cameras: np.ndarray
    neighbours: int

    def at(self, halo: Halo) -> CameraGraph:
        """Return the graph of some rows, without its edges."""
        none = torch.zeros(len(halo.numbers), 0)
        return CameraGraph(
            none.long(),
            none.bool(),
            tensor(self.reach[halo.numbers]),
            tensor(self.groups[halo.numbers]),
            tensor(self.cameras),
            self.neighbours,
        )


@dataclass(frozen=True)
class Queries:
    """Queries in files: unit rows [Q, d], with cameras [Q]."""

    rows: Parts
    camids: Parts

    def part(self, number: int) -> tuple[Tensor, Tensor]:
        """Return the queries of a part, and their cameras."""
        return tensor(self.rows.part(number)), tensor(self.camids.part(number))


@torch.no_grad()
def read_mutual(
    part: int, *, queries: Queries, columns: Sequence[Columns], graph: GraphParts, sharpness: float
) -> Arrays:
    """Let queries read a layer of mutual-neighbour sums: `rows` [q, d], as `ClosedForm.query`."""
    own, camids = queries.part(part)
    found = [some.nearest(own.numpy(), graph.neighbours + SPARE) for some in columns]
    halo = Halo.of(*found)
    items = tensor(columns[0].rows[halo.numbers])
    listed = query_edges(
        own,
        camids,
        rows=items,
        graph=graph.at(halo),
        found=[tensor(halo.places(one)) for one in found],
    )
    weights = sharpened(own, items, listed=listed, sharpness=sharpness)
    return {"rows": read(own, items, lists=listed[0], weights=weights).numpy()}


@torch.no_grad()
def read_through_gate(
    part: int,
    *,
    queries: Queries,
    summed: Parts,
    columns: Columns,
    gated: GatedParts,
    file: ModelFile,
) -> Arrays:
    """Let queries read through the gate, and join that to their sums: `rows` [q, d]."""
    own, camids = queries.part(part)
    found = columns.nearest(own.numpy(), NEAREST + SPARE)
    halo = Halo.of(found)
    items = gated.at(halo)
    lists, weights = file.gate().edges(items, own, camids=camids, found=tensor(halo.places(found)))
    gathered = read(own, items.rows, lists=lists, weights=weights)
    return {"rows": joined(tensor(summed.part(part)), gathered).numpy()}


@dataclass(frozen=True)
class Found:
    """Neighbours that were searched before: lists [Q, S]."""

    lists: Tensor

    def nearest(self, asking: Tensor, keys: Tensor, *, k: int) -> tuple[Tensor, Tensor]:
        """Return the lists, which hold the k nearest, and no similarities."""
        return asking.new_zeros(self.lists.shape), self.lists


def read_layers(
    part: int,
    *,
    queries: Queries,
    columns: Columns,
    hidden: Sequence[Parts],
    marks: np.ndarray,
    reach: Parts,
    file: ModelFile,
) -> Arrays:
    """Take queries through all layers, which read the gallery's states of each: `rows` [q, d].

    hidden: the gallery's states before each layer.   marks: [layers, l, d], landmarks' states.
    reach:  [G, 1], of the cosine graph.
    """
    model = file.load()
    own, camids = queries.part(part)
    found = columns.nearest(own.numpy(), model.neighbours - 1 + SPARE)
    halo = Halo.of(found)
    graph = GalleryGraph(None, None, tensor(reach[halo.numbers])[:, 0], model.heads)
    states = tuple(tensor(layer[halo.numbers]) for layer in hidden)
    local = GalleryState(model, states, tensor(marks), graph)
    known = Found(tensor(halo.places(found)))
    return {"rows": refine_prepared(local, own, camids=camids, lists=known).numpy()}
