"""A learned gate on edges: how likely each of a row's nearest neighbours shows its person.

A cosine sees two rows; what tells a person from a look-alike is how both stand among their
neighbours. The gate reads that from a set's neighbour lists alone, without the embeddings' numbers
and whatever their width. Each row then adds its neighbours by these likelihoods.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..embeddings import row_blocks
from ..neighbours.nearest import nearest_neighbours
from ..neighbours.reciprocity import row_numbers, similarity_of
from .mutual_neighbours import searched

NEAREST = 20  # neighbours that a row may read
AMONG = (5, 10, 20)  # nearest of both ends whose overlap is counted
DENSITY = 10  # nearest whose mean cosine is a row's density
FEATURES, HIDDEN = 14, 32
OF_QUERY, OF_ITEM = 2.0, 1.0  # weight of what is read, beside the row itself
BLOCK_ROWS = 1024


@dataclass(frozen=True, eq=False)
class NearestLists:
    """The nearest others of each row: lists [N, K] int64, nearest first, and cosines [N, K]."""

    lists: Tensor
    cosines: Tensor

    @staticmethod
    def of(rows: Tensor) -> "NearestLists":
        """Search the nearest others of unit rows [N, d]; K is 20, or all others where fewer."""
        count = min(NEAREST, len(rows) - 1)
        found = nearest_neighbours(rows, count + 1)[1]
        own = (found == row_numbers(rows)[:, None]).int()
        own[:, -1] += 1 - own.sum(dim=1)  # crowded out by its copies: the last one goes
        others = found[own == 0].view(len(rows), count)
        return NearestLists(*_sorted(rows, rows, lists=others))

    @staticmethod
    def to(items: Tensor, queries: Tensor) -> "NearestLists":
        """Search the items [N, d] nearest to each query [Q, d]."""
        lists, cosines = searched(queries, items, members=row_numbers(items), k=NEAREST)
        return NearestLists(lists, cosines)


def _sorted(rows: Tensor, others: Tensor, *, lists: Tensor) -> tuple[Tensor, Tensor]:
    lists = lists.sort(dim=1).values
    cosines, order = similarity_of(rows, others, lists=lists).sort(
        dim=1, descending=True, stable=True
    )
    return lists.gather(1, order), cosines


class EdgeGate(nn.Module):
    """Two hidden layers on the features of an edge, standardised by those of training.

    centre, scale: [14], means and deviations of the features.
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

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits of edges: [..., 14] -> [...]."""
        logits: Tensor = self.layers((features - self.centre) / self.scale)
        return logits[..., 0]

    @torch.no_grad()
    def weights(self, features: Tensor, *, query: bool) -> Tensor:
        """Return the weights [M, K] of edges with features [M, K, 14], from queries or items."""
        found = [features.new_zeros(0, features.shape[1])]
        found += [self(features[part]).sigmoid() for part in row_blocks(len(features), BLOCK_ROWS)]
        return torch.cat(found) * (OF_QUERY if query else OF_ITEM)


def edge_features(
    near: NearestLists,
    items: NearestLists,
    *,
    camids: Tensor,
    item_camids: Tensor,
    query: bool,
) -> Tensor:
    """Return 14 features [M, K, 14] of the edges from M rows to the items that they list.

    near:  of the rows, and camids [M] their cameras.
    items: of the set that they list, and item_camids [N] its cameras.
    query: whether the rows are queries, or the set itself.
    The cosine; the item's place in the row's list, in twentieths and logarithmic; the logarithm of
    the row's place in the item's list, and whether it is in it; the shares of 5, 10 and 20 nearest
    that both have; the cosine less each end's density and less the row's best; whether the cameras
    are the same and known; whether the row is a query.
    """
    cosines, width = near.cosines, items.lists.shape[1]
    found = cosines.new_zeros(*cosines.shape, FEATURES)
    places = torch.arange(cosines.shape[1], device=cosines.device, dtype=cosines.dtype)
    density = items.cosines[:, :DENSITY].mean(dim=1).nan_to_num()
    for part in row_blocks(len(cosines), BLOCK_ROWS):
        mine, theirs = near.lists[part], near.lists[part]
        cosine, back = cosines[part], items.cosines[theirs]  # [b, K], [b, K, K']
        nearer = (back > cosine[:, :, None]).sum(dim=2)
        known = (camids[part, None] >= 0) & (item_camids[theirs] >= 0)
        overlaps = [
            (items.lists[theirs, :most, None] == mine[:, None, None, :most]).any(3).sum(2) / most
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
            cosine - density[theirs],
            cosine - cosine[:, :1],
            known & (camids[part, None] == item_camids[theirs]),
            known,
            torch.full_like(cosine, query),
        )
        found[part] = torch.stack([column.to(cosines.dtype) for column in columns], dim=2)
    return found


def joined(summed: Tensor, gated: Tensor, *, share: float) -> Tensor:
    """Join rows [N, d] of the neighbour sums and of the gate, each counting by its share."""
    return gated if share == 1 else functional.normalize((1 - share) * summed + share * gated)
