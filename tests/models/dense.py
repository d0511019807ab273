"""The Neighbor Transformer written down with N×N matrices: what the sparse code must equal."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def dense_nformer(model, rows: Tensor, landmarks: Tensor, allowed=None) -> Tensor:
    """Run a set through `model`'s weights densely; returns the features before the BNNeck.

    rows: [N, d].   landmarks: [layers, l].
    allowed: [N, N] bool, what each row may read at all (default: everything).
    """
    count = len(rows)
    if allowed is None:
        allowed = torch.ones(count, count, dtype=torch.bool)
    similarity = (rows @ rows.T).fill_diagonal_(2.0)  # a row comes first in its own list
    cosine_mask = dense_mask(model, similarity, allowed)
    states = rows
    for block, chosen in zip(model.blocks, landmarks, strict=True):
        states = block(states, _read(model, block.attention, states, chosen, cosine_mask, allowed))
    return states


def dense_mask(model, scores: Tensor, allowed: Tensor) -> Tensor:
    """[N, N] bool: the mask that the model asks for, by `scores`, own edges forced."""
    own = torch.eye(len(scores), dtype=torch.bool)
    if model.mask == "none":
        return allowed | own
    scores = scores.masked_fill(~allowed, -torch.inf)
    k = min(model.neighbours, len(scores))
    listed = torch.zeros_like(own).scatter(1, scores.topk(k, dim=1).indices, True) & allowed
    if model.mask == "reciprocal":
        listed = listed & listed.T
    return listed | own


def _read(model, attention, states, chosen, cosine_mask, allowed):
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
            mask = dense_mask(model, affinity[head].detach(), allowed)
        weights = functional.softmax(affinity[head].masked_fill(~mask, -torch.inf), dim=1)
        mixed.append(weights @ v[head])
    return attention.output(torch.cat(mixed, dim=1))
