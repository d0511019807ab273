"""Choose the rows of a set that serve as landmarks in landmark agent attention (Eq. 5)."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..errors import BadInput
from ..neighbours.nearest import cluster_centres
from ..seeding import torch_generator

LandmarkChoice = Literal["random", "kmeans", "farthest"]
KMEANS_ROUNDS = 20


def draw_landmarks(rows: int, *, layers: int, count: int, generator: torch.Generator) -> Tensor:
    """Return `count` different rows at random for each layer, fewer where the set is smaller.

    returns: [layers, min(count, rows)] int64.
    """
    drawn = [torch.randperm(rows, generator=generator)[:count] for _ in range(layers)]
    return torch.stack(drawn)


def choose_landmarks(
    features: Tensor, *, layers: int, count: int, choice: LandmarkChoice = "random", seed: int = 0
) -> Tensor:
    """Return the landmarks of a set for inference: the same for the same set and seed.

    features: [N, d], L2-normalised.   returns: [layers, min(count, N)] int64.
    random:   as in training, different rows at each layer.
    kmeans:   the rows nearest to the centres of `count` clusters, from a start of each layer's own.
    farthest: from a random row on, always the row farthest from those chosen.

    Raises:
        BadInput: another choice; "kmeans" where FAISS cannot be imported.
    """
    if choice not in get_args(LandmarkChoice):
        known = ", ".join(get_args(LandmarkChoice))
        raise BadInput(f"landmarks {choice!r}: unknown; known are {known}, or indices")
    generator = torch_generator(seed, "landmarks", choice)
    first = draw_landmarks(len(features), layers=layers, count=count, generator=generator)
    if choice == "random":
        return first
    pick = _cluster_rows if choice == "kmeans" else _far_rows
    return torch.stack([pick(features, start.to(features.device)) for start in first])


def given_landmarks(landmarks: Any, *, layers: int, rows: int) -> Tensor:
    """Return landmarks that a caller chose as [layers, l] int64.

    Raises:
        BadInput: another shape, or indices outside of the set.
    """
    chosen = torch.as_tensor(landmarks).cpu()
    if chosen.ndim != 2 or len(chosen) != layers or chosen.shape[1] < 1:
        raise BadInput(f"landmarks must be [{layers} layers, l]; these are {list(chosen.shape)}")
    if chosen.is_floating_point() or chosen.min() < 0 or chosen.max() >= rows:
        raise BadInput(f"landmarks must be row numbers of the set, from 0 to {rows - 1}")
    return chosen.long()


def landmark_draws(seed: int, draws: int) -> Sequence[int]:
    """Return the seeds of `draws` draws; the first is `seed` itself."""
    return [seed + draw for draw in range(draws)]


def _cluster_rows(features: Tensor, start: Tensor) -> Tensor:
    """Spherical k-means from the rows `start`; then the row nearest to each centre, all different.

    features: [N, d].   start: [l].   returns: [l] int64.
    """
    rows = features.cpu().numpy()
    centres = cluster_centres(
        rows, len(start), rounds=KMEANS_ROUNDS, points=len(rows), start=rows[start.cpu().numpy()]
    )
    return _different_rows(features @ torch.from_numpy(centres).to(features).T)


def _different_rows(scores: Tensor) -> Tensor:
    """Return for each column of [N, l] the row with the largest score, no row twice."""
    scores, chosen = scores.clone(), []
    for column in range(scores.shape[1]):
        row = int(scores[:, column].argmax())
        scores[row] = -torch.inf
        chosen.append(row)
    return torch.tensor(chosen)


def _far_rows(features: Tensor, start: Tensor) -> Tensor:
    """Farthest-point sampling from the first row of `start`: [N, d], [l] -> [l] int64."""
    chosen = [int(start[0])]
    closest = features @ features[chosen[0]]  # similarity to the nearest of those chosen
    for _ in range(len(start) - 1):
        closest[chosen[-1]] = torch.inf
        chosen.append(int(closest.argmin()))
        closest = torch.maximum(closest, features @ features[chosen[-1]])
    return torch.tensor(chosen)
