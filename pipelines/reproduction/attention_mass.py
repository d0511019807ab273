"""The share of its attention that a set spends on rows of other identities."""

import torch
from torch import Tensor

from ..embeddings import Embeddings, row_blocks
from ..gallery.graph import gallery_graph
from ..gallery.refinement import pick_landmarks, prepare
from ..neighbours.edges import Edges, edge_dot, edge_softmax
from ..nformer.layerwise import evaluating, layer_by_layer
from ..nformer.model import NFormer
from ..nformer.projections import Projected

BLOCK = 512  # rows whose weights on all others are held at once


@torch.no_grad()
def irrelevant_mass(model: NFormer, items: Embeddings, *, seed: int = 0) -> float:
    """Return the share of attention on other identities: a mean over rows, heads and layers.

    The softmax is the model's own: over all rows, or over the edges that its mask keeps.
    """
    rows = prepare(model, items.features, what="embeddings")
    pids = torch.from_numpy(items.pids).to(rows.device)
    marks = pick_landmarks(model, rows, landmarks="random", seed=seed)
    graph = gallery_graph(model, rows)
    shares = []
    with evaluating(model):
        for layer in layer_by_layer(model, rows.clone(), edges=graph.edges, landmarks=marks):
            if graph.edges is None:
                shares.append(_of_all(layer.source, pids, heads=model.heads))
            else:
                shares.append(_of_edges(layer.source, graph.edges, pids=pids, heads=model.heads))
    return sum(shares) / len(shares)


def _of_all(source: Projected, pids: Tensor, *, heads: int) -> float:
    asking, keys = (
        part.view(len(pids), heads, -1).transpose(0, 1) for part in (source.asking, source.keys)
    )  # [h, N, c]
    total = 0.0
    for part in row_blocks(len(pids), BLOCK):
        weights = (asking[:, part] @ keys.transpose(1, 2)).softmax(dim=2)  # [h, block, N]
        total += float((weights * (pids[part, None] != pids)).sum())
    return total / (heads * len(pids))


def _of_edges(source: Projected, edges: Edges, *, pids: Tensor, heads: int) -> float:
    own = torch.linalg.vecdot(source.asking, source.keys)
    weights = edge_softmax(own, edge_dot(source.asking, source.keys, edges=edges), edges=edges)[
        1
    ]  # [E]
    other = pids[edges.row_of // heads] != pids[edges.index // heads]
    return float(weights[other].sum()) / (heads * len(pids))
