"""The same computed on whole matrices: the benchmarks' references.

NFormer has the same operations in the same order as the authors' code, on our modules' weights: the
mask and the affinity are dense, made anew in every layer, and the softmax at inference is over a
sparse copy of the dense product.
"""

import math

import numpy as np
import torch
from torch import Tensor

from ..embeddings import Embeddings
from ..nformer.layerwise import embed
from ..nformer.model import NFormer

MASKED = -1e9
K1, K2, WEIGHT = 20, 6, 0.3  # of k-reciprocal re-ranking


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


def dense_rerank(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Return the k-reciprocal re-ranked distances [Q, G], an item after the other, in N × N."""
    rows = np.concatenate([query, gallery])
    N, Q = len(rows), len(query)
    distance = np.maximum(2 - 2 * rows @ rows.T, 0)
    distance /= distance.max(axis=1, keepdims=True)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, : max(K1 + 1, K2)].astype(np.int32)
    weights = np.zeros((N, N), np.float32)
    for item in range(N):
        edges = _expanded(nearest, item)
        values = np.exp(-distance[item, edges])
        weights[item, edges] = values / values.sum()
    distance = distance[:Q, Q:].copy()
    weights = np.stack([weights[nearest[item, :K2]].mean(axis=0) for item in range(N)])
    listing = [np.flatnonzero(weights[:, item]) for item in range(N)]
    for item in range(Q):
        shared = np.zeros(N, np.float32)
        for column in np.flatnonzero(weights[item]):
            others = listing[column]
            shared[others] += np.minimum(weights[item, column], weights[others, column])
        jaccard = 1 - shared / (2 - shared)
        distance[item] = (1 - WEIGHT) * jaccard[Q:] + WEIGHT * distance[item]
    return distance


def _expanded(nearest: np.ndarray, item: int) -> np.ndarray:
    near = _reciprocal(nearest, item, k=K1)
    found = [near]
    for candidate in near:
        half = _reciprocal(nearest, candidate, k=int(np.around(K1 / 2)))
        if len(np.intersect1d(half, near)) > 2 / 3 * len(half):
            found.append(half)
    return np.unique(np.concatenate(found))


def _reciprocal(nearest: np.ndarray, item: int, *, k: int) -> np.ndarray:
    forward = nearest[item, : k + 1]
    return forward[(nearest[forward, : k + 1] == item).any(axis=1)]


def dense_score(query: Embeddings, gallery: Embeddings) -> float:
    """Return the mAP by sorting the whole gallery for every query, in Q × G."""
    similarity = _unit(query.features) @ _unit(gallery.features).T
    order = np.argsort(-similarity, axis=1, kind="stable")
    precision = []
    for row, (pid, camera) in enumerate(zip(query.pids, query.camids, strict=True)):
        same = gallery.pids[order[row]] == pid
        keep = ~(same & (gallery.camids[order[row]] == camera))
        hits = np.flatnonzero(same[keep]) + 1
        if len(hits):
            precision.append(np.mean(np.arange(1, len(hits) + 1) / hits))
    return float(np.mean(precision))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
