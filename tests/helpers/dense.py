"""The Neighbor Transformer written down with N×N matrices: what the sparse code must equal."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from pipelines.nformer.model import NFormer

CHOICES = [
    (graph, mask, affinity)
    for graph in ("cosine", "affinity")
    for mask in ("reciprocal", "topk", "none")
    for affinity in ("landmarks", "exact")
]


def dense_nformer(model, rows: Tensor, landmarks: Tensor, *, newcomer: bool = False) -> Tensor:
    """Run a set through `model`'s weights densely; returns the features before the BNNeck.

    rows: [N, d].   landmarks: [layers, l].
    newcomer: the last row is a query: it reads the others, and they do not read it.
    """
    similarity = (rows @ rows.T).fill_diagonal_(2.0)  # a row comes first in its own list
    cosine_mask = dense_mask(model, similarity, newcomer)
    states = rows
    for block, chosen in zip(model.blocks, landmarks, strict=True):
        states = block(states, _read(model, block.attention, states, chosen, cosine_mask, newcomer))
    return states


def dense_mask(model, scores: Tensor, newcomer: bool) -> Tensor:
    """[N, N] bool: the mask that the model asks for, by `scores`, own edges forced."""
    everything = torch.ones_like(scores, dtype=torch.bool)
    own = torch.eye(len(scores), dtype=torch.bool)
    mask = everything if model.mask == "none" else _listed(model, scores) | own
    if newcomer:  # the others' lists are theirs alone; the newcomer's row is as in the whole set
        last = mask[-1]
        mask = functional.pad(dense_mask(model, scores[:-1, :-1], False), (0, 1, 0, 1))
        mask[-1] = last
    return mask


def _listed(model, scores: Tensor) -> Tensor:
    k = min(model.neighbours, len(scores))
    listed = torch.zeros_like(scores, dtype=torch.bool)
    listed = listed.scatter(1, scores.topk(k, dim=1).indices, True)
    return listed & listed.T if model.mask == "reciprocal" else listed


def _read(model, attention, states, chosen, cosine_mask, newcomer):
    q, k, v = (
        part(states).unflatten(1, (model.heads, attention.width)).transpose(0, 1)
        for part in (attention.query, attention.key, attention.value)
    )  # [h, N, w]
    affinity = q @ k.transpose(1, 2)
    if model.affinity == "landmarks":
        affinity = (q @ k[:, chosen].transpose(1, 2)) @ (q[:, chosen] @ k.transpose(1, 2))
    affinity = affinity / math.sqrt(attention.width)
    mixed = []
    for head in range(model.heads):
        mask = cosine_mask
        if model.graph == "affinity":
            mask = dense_mask(model, affinity[head].detach(), newcomer)
        weights = functional.softmax(affinity[head].masked_fill(~mask, -torch.inf), dim=1)
        mixed.append(weights @ v[head])
    return attention.output(torch.cat(mixed, dim=1))


def sharp(model):
    """Give weights that attend clearly: initial ones attend to everything alike."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for block in model.blocks:
            for part in (block.attention.query, block.attention.key):
                part.weight.copy_(
                    torch.randn(part.weight.shape, generator=generator) / model.dim**0.25
                )
                part.bias.copy_(torch.randn(part.bias.shape, generator=generator) * 0.1)
    return model


def sharp_model(dim, **choices):
    """Return a small NFormer, in evaluation mode, whose weights attend clearly."""
    given = {"classes": 2, "layers": 3, "neighbours": 6, "landmarks": 3, **choices}
    return sharp(NFormer(dim=dim, **given)).eval()


def random_rows(count, seed, width):
    """Return unit rows in no bundles: [count, width]."""
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(count, width, generator=generator))


def rows_of(count, dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(max(1, count // 6), dim, generator=generator)
    rows = centres[torch.arange(count) % len(centres)]
    return functional.normalize(rows + 0.7 * torch.randn(count, dim, generator=generator))
