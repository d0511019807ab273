"""How alike the affinities A and Ã are: the cosine that Eq. 5 of the paper is about."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..gallery.graph import gallery_graph
from ..gallery.refinement import pick_landmarks
from ..nformer.landmarks import draw_landmarks
from ..nformer.layerwise import evaluating, layer_by_layer
from ..nformer.model import NFormer
from ..seeding import torch_generator


def cosines(query: Tensor, key: Tensor, *, landmarks: Tensor) -> tuple[float, float]:
    """Return cos(vec A, vec Ã), and the same with each one's mean entry taken off.

    query, key: [N, w], so that A = q kᵀ.   landmarks: [l] rows, so that Ã = (q k_lᵀ)(k q_lᵀ)ᵀ.
    Ã = q M kᵀ with M = k_lᵀ q_l [w, w], and every inner product is a trace of such matrices:
    ⟨A, Ã⟩ = tr(qᵀq M kᵀk). Nothing of size N×N is made.
    """
    q, k = query.double(), key.double()
    mix = k[landmarks].T @ q[landmarks]  # [w, w]
    of_query, of_key = q.T @ q, k.T @ k
    inner = torch.trace(of_query @ mix @ of_key)
    exact = torch.trace(of_query @ of_key)
    rough = torch.trace(mix.T @ of_query @ mix @ of_key)
    entries = len(q) ** 2
    exact_mean = (q.sum(dim=0) @ k.sum(dim=0)) / entries
    rough_mean = (q.sum(dim=0) @ mix @ k.sum(dim=0)) / entries
    centred = inner - entries * exact_mean * rough_mean
    left = exact - entries * exact_mean**2
    right = rough - entries * rough_mean**2
    return float(inner / (exact * rough).sqrt()), float(centred / (left * right).sqrt())


@torch.no_grad()
def affinity_similarity(
    model: NFormer, rows: Tensor, *, counts: Sequence[int], draws: int, seed: int = 0
) -> dict[int, tuple[float, float]]:
    """Return for each number of landmarks the two cosines: means over layers, heads and draws.

    rows: [N, d], prepared.   counts: numbers l; as many rows of the set are drawn at random.
    """
    found = []
    marks = pick_landmarks(model, rows, landmarks="random", seed=seed)
    with evaluating(model):
        states, graph = rows.clone(), gallery_graph(model, rows)
        for depth, layer in enumerate(
            layer_by_layer(model, states, edges=graph.edges, landmarks=marks)
        ):
            attention = layer.block.attention
            queries, keys = (
                projected.unflatten(1, (attention.heads, attention.width))
                for projected in (attention.query(states), attention.key(states))
            )
            found += [
                projected_similarity(
                    queries[:, head],
                    keys[:, head],
                    counts=counts,
                    draws=draws,
                    seed=seed,
                    layer=depth,
                )
                for head in range(attention.heads)
            ]
    return {count: _mean([one[count] for one in found]) for count in counts}


def projected_similarity(
    query: Tensor, key: Tensor, *, counts: Sequence[int], draws: int, seed: int = 0, layer: int = 0
) -> dict[int, tuple[float, float]]:
    """Return for each number of landmarks the two cosines of one head: means over draws.

    query, key: [N, w].   layer: landmarks are drawn for each layer anew.
    """
    found = {}
    for count in counts:
        each = []
        for draw in range(draws if count < len(query) else 1):
            generator = torch_generator(seed, "likeness", layer, draw, count)
            drawn = draw_landmarks(len(query), layers=1, count=count, generator=generator)[0]
            each.append(cosines(query, key, landmarks=drawn.to(query.device)))
        found[count] = _mean(each)
    return found


def _mean(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    plain, centred = np.mean(pairs, axis=0)
    return float(plain), float(centred)
