"""Search, scoring and re-ranking on whole matrices: the benchmark's reference."""

import numpy as np

from ..embeddings import Embeddings

K1, K2, WEIGHT = 20, 6, 0.3


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
