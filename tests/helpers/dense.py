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


def dense_nformer(
    model, rows: Tensor, landmarks: Tensor, *, newcomer: bool = False, apart: int = 0
) -> Tensor:
    """Run a set through `model`'s weights densely; returns the features before the BNNeck.

    rows: [N, d].   landmarks: [layers, l].
    newcomer: the last row is a query: it reads the others, and they do not read it.
    apart: of the first rows, as many, none reads another.
    """
    barred = torch.zeros(len(rows), len(rows), dtype=torch.bool)
    barred[:apart, :apart] = ~torch.eye(apart, dtype=torch.bool)
    similarity = (rows @ rows.T).fill_diagonal_(2.0)  # a row comes first in its own list
    cosine_mask = dense_mask(model, similarity, newcomer, barred)
    states = rows
    for block, chosen in zip(model.blocks, landmarks, strict=True):
        masks = cosine_mask, newcomer, barred
        states = block(states, _read(model, block.attention, states, chosen, *masks))
    return states


def dense_mask(model, scores: Tensor, newcomer: bool, barred: Tensor) -> Tensor:
    """[N, N] bool: the mask that the model asks for, by `scores`, own edges forced."""
    own = torch.eye(len(scores), dtype=torch.bool)
    listed = _listed(model, scores.masked_fill(barred, -torch.inf)) & ~barred
    mask = ~barred if model.mask == "none" else listed | own
    if newcomer:  # the others' lists are theirs alone; the newcomer's row is as in the whole set
        last = mask[-1]
        others = dense_mask(model, scores[:-1, :-1], False, barred[:-1, :-1])
        mask = functional.pad(others, (0, 1, 0, 1))
        mask[-1] = last
    return mask


def _listed(model, scores: Tensor) -> Tensor:
    k = min(model.neighbours, len(scores))
    listed = torch.zeros_like(scores, dtype=torch.bool)
    listed = listed.scatter(1, scores.topk(k, dim=1).indices, True)
    return listed & listed.T if model.mask == "reciprocal" else listed


def _read(model, attention, states, chosen, cosine_mask, newcomer, barred):
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
            mask = dense_mask(model, affinity[head].detach(), newcomer, barred)
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
