"""The released code's computation with N×N matrices: the benchmark's reference.

The same operations in the same order as the authors' code, on our modules' weights: the mask and
the affinity are dense, made anew in every layer, and the softmax at inference is over a sparse
copy of the dense product.
"""

import math

import torch
from torch import Tensor

from ..nformer.layerwise import embed
from ..nformer.model import NFormer

MASKED = -1e9


def dense_refine(model: NFormer, rows: Tensor, *, landmarks: Tensor) -> Tensor:
    """Refine one set for inference: [N, d] L2-normalised, [layers, l] -> [N, d]."""
    with torch.no_grad():
        return embed(model, _layers(model, rows, landmarks=landmarks))


def dense_forward(model: NFormer, rows: Tensor, *, landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """Run one set for training: logits [N, classes] and features [N, d]."""
    features = _layers(model, rows, landmarks=landmarks)
    return model.classifier(model.embed(features)), features


def _layers(model: NFormer, rows: Tensor, *, landmarks: Tensor) -> Tensor:
    lists = (rows.detach() @ rows.detach().T).topk(model.neighbours, dim=1).indices
    states = rows
    for block, chosen in zip(model.layers(), landmarks, strict=True):
        attention = block.attention
        query, key, value = (
            part(states).unflatten(1, (model.heads, attention.width)).transpose(0, 1)
            for part in (attention.query, attention.key, attention.value)
        )  # [h, N, w]
        near = query @ key[:, chosen].transpose(1, 2)  # [h, N, l]
        far = query[:, chosen] @ key.transpose(1, 2)  # [h, l, N]
        affinity = near @ far / math.sqrt(attention.width)  # [h, N, N]
        weights = _neighbour_softmax(affinity, lists, training=model.training)
        read = torch.bmm(weights, value)  # [h, N, w]
        states = block(states, attention.output(read.transpose(0, 1).flatten(1)))
    return states


def _neighbour_softmax(affinity: Tensor, lists: Tensor, *, training: bool) -> Tensor:
    """Return the weights of the reciprocal neighbour softmax: [h, N, N]."""
    lists = lists.expand(len(affinity), -1, -1)
    mask = torch.zeros_like(affinity).scatter_(
        2, lists, torch.ones_like(affinity[:, :, :1]).expand(lists.shape)
    )
    mask = mask * mask.transpose(1, 2)
    if training:
        return (affinity * mask + MASKED * (1 - mask)).softmax(dim=2)
    return torch.sparse.softmax((affinity * mask).to_sparse(), 2)
