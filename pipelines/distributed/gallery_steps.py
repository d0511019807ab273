"""What a worker does with one part of a set: its graph, its sums, its gate, its layers."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..artifacts.nformer import load_nformer
from ..embeddings import row_blocks
from ..neighbours.checked import own_first
from ..neighbours.edges import Edges
from ..neighbours.reciprocity import reciprocal, similarity_of
from ..nformer.layerwise import BLOCK_ROWS, Layer, fill_up
from ..nformer.model import NFormer
from ..nformer.on_closed_form import NFormerOnClosedForm
from ..refiners.edge_gate import (
    NEAREST,
    EdgeGate,
    Gated,
    edge_features,
    joined,
    others_by_cosine,
    profile_sum,
)
from ..refiners.mutual_neighbours import read, sharpened
from .parts import Arrays, Parts
from .search import Columns
from .shards import order_by_place


@dataclass(frozen=True)
class ModelFile:
    """An nformer.pt, and how many neighbours its layers read; 0: as it was trained."""

    path: Path
    neighbours: int

    def load(self) -> NFormer:
        """Return the model, which a worker keeps."""
        return _loaded(self)

    def gate(self) -> EdgeGate:
        """Return the gate of its closed form."""
        model = self.load()
        assert isinstance(model, NFormerOnClosedForm) and model.closed_form.gate is not None
        return model.closed_form.gate


@functools.lru_cache(maxsize=1)
def _loaded(file: ModelFile) -> NFormer:
    model = load_nformer(file.path)
    model.neighbours = file.neighbours or model.neighbours
    return model


@dataclass(frozen=True, eq=False)
class Halo:
    """The rows of a part and those that they list, numbered from 0.

    numbers: [M] int64, ascending, the rows' numbers in the whole set.
    """

    numbers: np.ndarray

    @staticmethod
    def of(*lists: np.ndarray) -> "Halo":
        """Return the halo of some lists."""
        return Halo(np.unique(np.concatenate([one.ravel() for one in lists])))

    def places(self, lists: np.ndarray) -> np.ndarray:
        """Return where the listed rows stand here; -1 where they do not."""
        place = np.searchsorted(self.numbers, lists).clip(max=len(self.numbers) - 1)
        return np.where(self.numbers[place] == lists, place, -1)


def order_rows(part: int, *, rows: np.ndarray, parts: int) -> Arrays:
    """Find an order of the rows in which those near each other make a part."""
    return {"order": order_by_place(rows, parts)}


def take_rows(
    part: int, *, bounds: tuple[int, ...], order: np.ndarray, **arrays: np.ndarray
) -> Arrays:
    """Take the rows of a part of some arrays, in an order.

    bounds: [P], the row behind each part's last one.
    """
    own = order[bounds[part - 1] if part else 0 : bounds[part]]
    return {name: array[own] for name, array in arrays.items()}


def members_of(part: int, *, groups: np.ndarray) -> Arrays:
    """Find the rows of one of the groups, in ascending order of these."""
    return {"members": np.flatnonzero(groups == np.unique(groups)[part])}


def list_nearest(part: int, *, columns: Sequence[Columns], k: int) -> Arrays:
    """Find the k nearest of each row among some columns: `lists` [n, C·k], `reach` [n, C].

    As `camera_graph`: columns left free hold the row itself. Of a single group a row comes first.
    """
    rows = columns[0].rows
    own, itself = rows.part(part), rows.numbers_of(part)[:, None]
    lists, reach = [], []
    for some in columns:
        found = some.nearest_of_part(part, k)
        if len(columns) == 1:
            found = itself_first(found, itself)
        free = k - found.shape[1]
        last = np.full((len(own), 1), -np.inf, np.float32)
        if not free:
            numbers, place = np.unique(found[:, -1:], return_inverse=True)
            last = similarity_of(
                tensor(own), tensor(rows[numbers]), lists=tensor(place.reshape(-1, 1))
            ).numpy()
        lists += [found, np.broadcast_to(itself, (len(own), free))]
        reach.append(last)
    return {"lists": np.concatenate(lists, axis=1), "reach": np.concatenate(reach, axis=1)}


def keep_edges(part: int, *, lists: Parts, mutual: bool) -> Arrays:
    """Find which entries of lists are edges: not the row itself, and listed by both ends."""
    mine, own = lists.part(part), lists.numbers_of(part)
    kept = mine != own[:, None]
    if mutual:
        halo = Halo.of(own, mine)
        kept &= reciprocal(halo.places(lists[halo.numbers]), halo.places(own))
    return {"kept": kept}


def sum_mutual(part: int, *, rows: Parts, lists: Parts, kept: Parts, sharpness: float) -> Arrays:
    """Add each row's mutual neighbours to it: `rows` [n, d], as `read_gallery`."""
    edges = lists.part(part), kept.part(part)
    numbers, places = read_from(*edges)
    own, sources = tensor(rows.part(part)), tensor(rows[numbers])
    listed = places, tensor(edges[1])
    weights = sharpened(own, sources, listed=listed, sharpness=sharpness)
    return {"rows": read(own, sources, lists=places, weights=weights).numpy()}


def list_others(part: int, *, columns: Columns) -> Arrays:
    """Find what the gate reads: `lists` and `cosines` [n, 20], `profile` [1, 4], as `Gated.of`."""
    own, itself = columns.rows.part(part), columns.rows.numbers_of(part)
    found = columns.nearest_of_part(part, min(NEAREST, len(columns) - 1) + 1)
    halo = Halo.of(itself, found)
    lists, cosines = others_by_cosine(
        tensor(halo.places(itself_first(found, itself[:, None]))),
        tensor(own),
        itself=tensor(halo.places(itself)),
        sources=tensor(columns.rows[halo.numbers]),
    )
    return {
        "lists": halo.numbers[lists.numpy()],
        "cosines": cosines.numpy(),
        "profile": profile_sum(cosines)[None].numpy(),
    }


@dataclass(frozen=True)
class GatedParts:
    """A set that is read through a gate: `Gated` in files. profile: [4], of the whole set."""

    rows: Parts
    camids: Parts
    lists: Parts
    cosines: Parts
    profile: np.ndarray

    def at(self, halo: Halo) -> Gated:
        """Return some of its rows."""
        return Gated(
            tensor(self.rows[halo.numbers]),
            tensor(self.camids[halo.numbers]),
            tensor(halo.places(self.lists[halo.numbers])),
            tensor(self.cosines[halo.numbers]),
            tensor(self.profile),
        )


def read_gated(part: int, *, gated: GatedParts, summed: Parts, file: ModelFile) -> Arrays:
    """Read each row's neighbours through the gate, and join that to its sum: `rows` [n, d]."""
    own = gated.rows.numbers_of(part)
    halo = Halo.of(own, gated.lists.part(part))
    items, at = gated.at(halo), tensor(halo.places(own))
    lists, camids = items.lists[at], items.camids[at]
    features = edge_features(lists, items.cosines[at], camids=camids, items=items, query=False)
    weights = file.gate().weights(features, query=False)
    found = read(items.rows[at], items.rows, lists=lists, weights=weights)
    return {"rows": joined(tensor(summed.part(part)), found).numpy()}


@torch.no_grad()
def take_through_layer(
    part: int,
    *,
    states: Parts,
    lists: Parts,
    kept: Parts,
    file: ModelFile,
    number: int,
    marks: np.ndarray,
) -> Arrays:
    """Take the rows of a part through one layer: `rows` [n, d].

    marks: [l], the numbers of the rows that are landmarks.
    """
    model = file.load()
    block, landmarks = model.layers()[number], tensor(states[marks])
    numbers, near = read_from(lists.part(part), kept.part(part))
    items, edges = fill_up(tensor(states[numbers])), tensor(kept.part(part))
    layer = Layer(block, landmarks, block.attention.project(items, landmarks), None)
    own = tensor(states.part(part)).clone()
    for some in row_blocks(len(own), BLOCK_ROWS):
        filled = fill_up(own[some])
        free = (0, 0, 0, len(filled) - len(own[some]))
        here = Edges.of(
            functional.pad(near[some], free)[:, None],
            functional.pad(edges[some], free)[:, None],
            heads=model.heads,
            sources=len(items),
        )
        own[some] = layer.read_by(model, filled, edges=here)[: len(own[some])]
    return {"rows": own.numpy()}


def read_from(lists: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, Tensor]:
    """Return the numbers [M] of the rows that lists read, and each entry's place among them."""
    numbers, place = np.unique(lists[kept], return_inverse=True)
    places = np.zeros(lists.shape, np.int64)
    places[kept] = place
    return numbers if len(numbers) else lists[0, :1], tensor(places)  # there must be one


def itself_first(found: np.ndarray, itself: np.ndarray) -> np.ndarray:
    """Return lists [n, k] in which each row, whose number is in itself [n, 1], comes first."""
    found = found - itself[0, 0]
    own_first(np.empty(found.shape, np.float32), found)
    return found + itself[0, 0]


def tensor(array: np.ndarray) -> Tensor:
    """Return an array, also one mapped into memory, as a tensor."""
    return torch.from_numpy(np.asarray(array))
