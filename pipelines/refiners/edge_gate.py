"""A learned gate on edges: how likely each of a row's nearest neighbours shows its person.

A cosine sees two rows; what tells a person from a look-alike is how both stand among their
neighbours. The gate reads that from a set's neighbour lists alone, without the embeddings' numbers
and whatever their width. Each row then adds its neighbours by these likelihoods.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..embeddings import row_blocks
from ..neighbours.nearest import nearest_neighbours
from ..neighbours.reciprocity import row_numbers, similarity_of
from .mutual_neighbours import nearest_first, read, searched

NEAREST = 20  # neighbours that a row may read
AMONG = (5, 10, 20)  # nearest of both ends whose overlap is counted
DENSITY = 10  # nearest whose mean cosine is a row's density
FEATURES, HIDDEN = 18, 32
KNOWN = 12  # the feature that says whether both cameras are known
OF_SET = slice(14, 18)  # the features that all edges of a set share
PROFILE = (1, 2, 4, 8)  # places of a list whose mean cosines tell how many images a person has
OF_QUERY, OF_ITEM = 2.0, 1.0  # weight of what is read, beside the row itself
BLOCK_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Gated:
    """A set that is read through a gate: unit rows [N, d] with cameras [N] and their neighbours.

    lists: [N, K] int64, the 20 nearest others of each row, nearest first; cosines [N, K].
    known_profile: [4], of the whole set where these rows are a part of one; it lists -1 for rows
           that are not here.
    """

    rows: Tensor
    camids: Tensor
    lists: Tensor
    cosines: Tensor
    known_profile: Tensor | None = None

    @cached_property
    def profile(self) -> Tensor:
        """Mean cosines with the 1st, 2nd, 4th and 8th nearest, less that with the last: [4]."""
        if self.known_profile is not None:
            return self.known_profile
        return (profile_sum(self.cosines) / len(self.cosines)).to(self.cosines.dtype)

    @staticmethod
    def of(rows: Tensor, camids: Tensor) -> "Gated":
        """Search the nearest others of each row; of few rows all."""
        found = nearest_neighbours(rows, min(NEAREST, len(rows) - 1) + 1)[1]
        lists, cosines = others_by_cosine(found, rows, itself=row_numbers(rows), sources=rows)
        return Gated(rows, camids, lists, cosines)


def profile_sum(cosines: Tensor) -> Tensor:
    """Return the sum over rows of what `Gated.profile` is the mean of: [N, K] -> [4] float64."""
    width = cosines.shape[1]
    if not width:
        return cosines.new_zeros(len(PROFILE), dtype=torch.float64)
    places = torch.tensor(PROFILE, device=cosines.device).clip(max=width) - 1
    return (cosines[:, places] - cosines[:, -1:]).double().sum(dim=0)


def others_by_cosine(
    found: Tensor, rows: Tensor, *, itself: Tensor, sources: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what rows list without themselves, nearest first, and how near: [M, K - 1] each.

    found: [M, K] int64, rows of the sources [N, d].   rows: [M, d].   itself: [M], where each row
    is among the sources.
    """
    own = (found == itself[:, None]).int()
    own[:, -1] += 1 - own.sum(dim=1)  # crowded out by its copies: the last one goes
    lists = found[own == 0].view(len(rows), found.shape[1] - 1).sort(dim=1).values
    cosines, order = similarity_of(rows, sources, lists=lists).sort(
        dim=1, descending=True, stable=True
    )
    return lists.gather(1, order), cosines


class EdgeGate(nn.Module):
    """Two hidden layers on the features of an edge, standardised by those of training.

    centre, scale: [18], means and deviations of the features; infinite: left out.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(FEATURES))
        self.register_buffer("scale", torch.ones(FEATURES))
        self.layers = nn.Sequential(
            nn.Linear(FEATURES, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, 1),
        )

    @property
    def uses_cameras(self) -> bool:
        """Whether camera ids matter to it."""
        return bool(self.scale[KNOWN].isfinite())

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of edges: [..., 18] -> [...]."""
        logits: Tensor = self.layers((features - self.centre) / self.scale)
        return logits[..., 0]

    @torch.no_grad()
    def weights(self, features: Tensor, *, query: bool) -> Tensor:
        """Return the weights [M, K] of edges with features [M, K, 18], from queries or items."""
        found = [features.new_zeros(0, features.shape[1])]
        found += [self(features[part]).sigmoid() for part in row_blocks(len(features), BLOCK_ROWS)]
        return torch.cat(found) * (OF_QUERY if query else OF_ITEM)

    def edges(
        self, items: Gated, query: Tensor, *, camids: Tensor, found: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the items near each query [Q, d] and their weights: [Q, K] int64 and float.

        found: [Q, S] int64, the items that the nearest are among, where they are known.
        """
        lists, features = query_features(items, query, camids=camids, found=found)
        return lists, self.weights(features, query=True)

    def read_items(self, items: Gated) -> Tensor:
        """Return the rows of a set, each with its neighbours by their weights: [N, d]."""
        weights = self.weights(item_features(items), query=False)
        return read(items.rows, items.rows, lists=items.lists, weights=weights)


def query_features(
    items: Gated, query: Tensor, *, camids: Tensor, found: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the items near each query [Q, d], [Q, K], and the features of these edges."""
    if found is None:
        lists, cosines = searched(query, items.rows, members=row_numbers(items.rows), k=NEAREST)
    else:
        lists, cosines = nearest_first(query, items.rows, lists=found, k=NEAREST)
    return lists, edge_features(lists, cosines, camids=camids, items=items, query=True)


def item_features(items: Gated) -> Tensor:
    """Return the features [N, K, 18] of the edges between the items of a set."""
    return edge_features(items.lists, items.cosines, camids=items.camids, items=items, query=False)


def edge_features(
    lists: Tensor, cosines: Tensor, *, camids: Tensor, items: Gated, query: bool
) -> Tensor:
    """Return 18 features [M, K, 18] of the edges from M rows to the items that they list.

    lists: [M, K] int64, the items nearest to each row; cosines [M, K]; camids [M].
    items: the set that they list.   query: whether the rows are queries, or the set itself.
    The cosine; the item's place in the row's list, in twentieths and logarithmic; the logarithm of
    the row's place in the item's list, and whether it is in it; the shares of 5, 10 and 20 nearest
    that both have; the cosine less each end's density and less the row's best; whether the cameras
    are the same and known; whether the row is a query; the profile of the set.
    """
    width = items.lists.shape[1]
    found = cosines.new_zeros(*cosines.shape, FEATURES)
    places = torch.arange(cosines.shape[1], device=cosines.device, dtype=cosines.dtype)
    density = items.cosines[:, :DENSITY].mean(dim=1).nan_to_num()
    for part in row_blocks(len(cosines), BLOCK_ROWS):
        near = lists[part]
        cosine, back = cosines[part], items.cosines[near]  # [b, K], [b, K, K']
        nearer = (back > cosine[:, :, None]).sum(dim=2)
        known = (camids[part, None] >= 0) & (items.camids[near] >= 0)
        overlaps = [
            (items.lists[near, :most, None] == near[:, None, None, :most]).any(3).sum(2) / most
            for most in AMONG
        ]
        columns = (
            cosine,
            (places / NEAREST).expand_as(cosine),
            places.log1p().expand_as(cosine),
            nearer.log1p(),
            nearer < width,
            *overlaps,
            cosine - cosine[:, :DENSITY].mean(dim=1, keepdim=True),
            cosine - density[near],
            cosine - cosine[:, :1],
            known & (camids[part, None] == items.camids[near]),
            known,
            torch.full_like(cosine, query),
            *items.profile.expand(*cosine.shape, -1).unbind(dim=2),
        )
        found[part] = torch.stack([column.to(cosines.dtype) for column in columns], dim=2)
    return found


def joined(summed: Tensor, gated: Tensor) -> Tensor:
    """Join rows [N, d] of the neighbour sums and of the gate, each counting half."""
    return functional.normalize(summed + gated)
