"""Attention over neighbours: landmark agents' affinity, softmax over the edges (Eq. 3 to 8)."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..neighbours.edges import Edges
from .fused import read_edges
from .linear import Linear
from .projections import Projected

Affinity = Literal["landmarks", "exact"]
BLOCK_LOGITS = 1 << 24  # logits of dense attention held at once


class NeighbourAttention(nn.Module):
    """Landmark agent attention with softmax over a graph's edges.

    The affinity of rows i and j is (q_i K_lᵀ)·(k_j Q_lᵀ) / √w, where K_l and Q_l are the keys and
    queries of l landmarks. Being bilinear, it needs neither q nor k: the landmarks' projections
    are folded into two [d, heads·l] matrices first, and no N×N affinity ever exists.
    """

    def __init__(self, *, dim: int, heads: int, affinity: Affinity) -> None:
        super().__init__()
        self.heads, self.affinity = heads, affinity
        self.width = -(-dim // heads)  # of a head, rounded up: any dim goes with any heads
        inner = heads * self.width
        self.query, self.key = Linear(dim, inner), Linear(dim, inner)
        self.value = Linear(dim, inner)
        self.output = Linear(inner, dim)

    def project(self, sets: Tensor, marks: Tensor) -> Projected:
        """Return what attention needs of every row of one set or of a batch of sets.

        sets: [..., N, d].   marks: [..., l, d], the landmarks' states, of each set its own.
        """
        if self.affinity == "exact":
            asking, keys = self.query(sets), self.key(sets)  # [..., N, heads·w]
        else:
            asking = self._through(self.query, sets, agents=self.key(marks))  # [..., N, heads·l]
            keys = self._through(self.key, sets, agents=self.query(marks))
        rows = sets.shape[:-1].numel() * self.heads
        return Projected(
            (asking / math.sqrt(self.width)).reshape(rows, -1),
            keys.reshape(rows, -1),
            self.value(sets).reshape(rows, self.width),
        )

    def _through(self, projection: nn.Linear, sets: Tensor, *, agents: Tensor) -> Tensor:
        """Return projection(sets) · agentsᵀ in each head, by folding the agents into the weights.

        sets: [..., N, d].   agents: [..., l, heads·w].   returns: [..., N, heads·l].
        """
        agents = agents.unflatten(-1, (self.heads, self.width)).transpose(-3, -2)  # [..., h, l, w]
        weight = projection.weight.view(self.heads, self.width, -1)  # [h, w, d]
        bias = projection.bias.view(self.heads, self.width, 1)
        folded = (agents @ weight).flatten(-3, -2)  # [..., h·l, d]
        offset = (agents @ bias).flatten(-3)  # [..., h·l]
        return sets @ folded.transpose(-2, -1) + offset.unsqueeze(-2)

    def read(self, own: Projected, source: Projected, *, edges: Edges) -> Tensor:
        """Return what each row reads from itself and along its edges.

        own: the reading rows, [R, ·].   source: what can be read, [S, ·].   returns: [N, d].
        """
        return self._joined(read_edges(own, source, edges=edges))

    def read_all(self, own: Projected, *, sets: int = 1) -> Tensor:
        """Return what each row reads from every row of its set: ordinary softmax attention.

        own: [sets·N·heads, ·].   returns: [sets·N, d]. Memory is linear: the affinity is made in
        blocks, whose heads must be as wide as their values, hence the columns of zeros.
        """
        asking, keys, values = (
            functional.pad(part, (0, max(self.width, own.keys.shape[1]) - part.shape[1]))
            .view(sets, -1, self.heads, max(self.width, own.keys.shape[1]))
            .transpose(1, 2)  # [sets, h, N, w]
            for part in (own.asking, own.keys, own.values)
        )
        mixed = functional.scaled_dot_product_attention(asking, keys, values, scale=1.0)
        return self._joined(mixed.transpose(1, 2)[..., : self.width].reshape(-1, self.width))

    def read_all_of(self, own: Projected, source: Projected) -> Tensor:
        """Return what each row reads from itself and from every row of the source, in blocks.

        own: [R, ·].   source: [S, ·].   returns: [N, d].
        """
        asking, own_keys, own_values = map(self._by_head, (own.asking, own.keys, own.values))
        keys, values = self._by_head(source.keys), self._by_head(source.values)  # [h, S/h, ·]
        block = max(1, BLOCK_LOGITS // (self.heads * max(1, keys.shape[1])))
        mixed = []
        for start in range(0, asking.shape[1], block):
            part = slice(start, start + block)
            own_logits = torch.linalg.vecdot(asking[:, part], own_keys[:, part])[..., None]
            logits = torch.cat([own_logits, asking[:, part] @ keys.transpose(1, 2)], dim=2)
            weights = logits.softmax(dim=2)  # [h, block, 1 + S/h]
            mixed.append(weights[..., :1] * own_values[:, part] + weights[..., 1:] @ values)
        return self._joined(torch.cat(mixed, dim=1).transpose(0, 1).reshape(-1, self.width))

    def _by_head(self, rows: Tensor) -> Tensor:
        """[N·heads, c] -> [heads, N, c]."""
        return rows.view(-1, self.heads, rows.shape[1]).transpose(0, 1)

    def _joined(self, mixed: Tensor) -> Tensor:
        """[N·heads, w] -> [N, d]."""
        return self.output(mixed.reshape(-1, self.heads * self.width))
