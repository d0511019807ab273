"""The Neighbor Transformer (Wang et al., CVPR 2022, sections 3.2 to 3.4)."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ..errors import BadInput
from ..neighbours.edges import Edges
from ..neighbours.nearest import nearest_neighbours
from ..neighbours.reciprocity import nearest_of, reciprocal
from ..seeding import torch_generator
from .attention import Affinity, NeighbourAttention
from .feed_forward import Dropout, FeedForward
from .landmarks import draw_landmarks
from .linear import Linear
from .projections import Projected

Graph = Literal["cosine", "affinity"]
Mask = Literal["reciprocal", "topk", "none"]
INITIAL_STD = 0.02


class Block(nn.Module):
    """Attention and a feed-forward network, each with a residual and a layer norm after it."""

    def __init__(self, *, dim: int, heads: int, affinity: Affinity, dropout: float) -> None:
        super().__init__()
        self.attention = NeighbourAttention(dim=dim, heads=heads, affinity=affinity)
        self.attention_norm = nn.LayerNorm(dim)
        self.feed = FeedForward(dim)
        self.feed_norm = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(self, rows: Tensor, read: Tensor) -> Tensor:
        """rows: [N, d] states.   read: [N, d], what they read, overwritten.   returns: [N, d]."""
        rows = self.attention_norm(self.dropout(read).add_(rows))
        return self.feed_norm(self.dropout(self.feed(rows)).add_(rows))


class NFormer(nn.Module):
    """Refine a set of embeddings by letting each read its reciprocal nearest neighbours.

    dim:        width d of the embeddings, in and out.   classes: identities trained on.
    layers:     blocks.   heads: of attention; each is ⌈dim / heads⌉ wide.
    neighbours: k of the reciprocal neighbour softmax, the row itself being one of them.
    landmarks:  l of the landmark agent attention.
    graph:      whether neighbours are found by cosine of the input or by each layer's affinity.
    mask:       "reciprocal" keeps edges that both ends list, "topk" all k, "none" all of the set.
    affinity:   "landmarks", or "exact" for an ordinary transformer's.

    Raises:
        BadInput: a number below 1, a dropout outside of [0, 1), or an unknown choice.
    """

    def __init__(
        self,
        *,
        dim: int,
        classes: int,
        layers: int = 4,
        heads: int = 2,
        neighbours: int = 20,
        landmarks: int = 5,
        dropout: float = 0.1,
        graph: Graph = "cosine",
        mask: Mask = "reciprocal",
        affinity: Affinity = "landmarks",
    ) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {
            "dim": dim,
            "classes": classes,
            "layers": layers,
            "heads": heads,
            "neighbours": neighbours,
            "landmarks": landmarks,
            "dropout": dropout,
            "graph": graph,
            "mask": mask,
            "affinity": affinity,
        }
        _require_sound(self.settings)
        self.dim, self.heads, self.neighbours, self.landmarks = dim, heads, neighbours, landmarks
        self.graph, self.mask, self.affinity = graph, mask, affinity
        self.blocks = nn.ModuleList(
            Block(dim=dim, heads=heads, affinity=affinity, dropout=dropout) for _ in range(layers)
        )
        self.bottleneck = nn.BatchNorm1d(dim)
        self.bottleneck.bias.requires_grad_(False)
        self.classifier = nn.Linear(dim, classes, bias=False)
        self.reset(torch_generator(0, "nformer"))

    def reset(self, generator: torch.Generator) -> None:
        """Draw initial weights as the released code does: normal, biases 0."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                std = 0.001 if name == "classifier.weight" else INITIAL_STD
                nn.init.normal_(parameter, std=std, generator=generator)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def layers(self) -> list[Block]:
        """Return the blocks in order."""
        return [block for block in self.blocks if isinstance(block, Block)]

    def multiply_in_bfloat16(self, half: bool = True) -> None:
        """Let the blocks' linear layers multiply in bfloat16, forward and backward, or not."""
        for part in self.blocks.modules():
            if isinstance(part, Linear):
                part.rounded = half

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return self.classifier.weight.device

    def before(
        self,
        gallery: Tensor,
        gallery_camids: Tensor,
        *,
        query: Tensor | None = None,
        query_camids: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor]:
        """Return the rows that the blocks read, of queries and gallery: here those given."""
        return query, gallery

    def after(self, rows: Tensor, refined: Tensor) -> Tensor:
        """Return embeddings from the rows that the blocks read and what they made of them."""
        return refined

    def forward(
        self,
        features: Tensor,
        *,
        landmarks: Tensor | None = None,
        neighbours: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run one set or a batch of sets that do not see each other.

        features:   [N, d] or [B, N, d], L2-normalised.
        landmarks:  [layers, l] rows, the same in every set; drawn with `generator` when not given.
        neighbours: [N, k] or [B, N, k] int64, found by cosine when not given.
        returns:    the classifier's logits [..., N, classes], and the features before the BNNeck
                    [..., N, d]; in evaluation the BNNeck is what makes embeddings of them.
        """
        sets = features if features.ndim == 3 else features[None]
        count, rows, _ = sets.shape
        if landmarks is None:
            generator = generator or torch_generator(0, "landmarks")
            landmarks = draw_landmarks(
                rows, layers=len(self.blocks), count=self.landmarks, generator=generator
            )
        edges = self._cosine_edges(sets, neighbours)
        for block, marks in zip(self.layers(), landmarks.to(sets.device), strict=True):
            projected = block.attention.project(sets, sets[:, marks])
            flat = sets.reshape(count * rows, -1)
            read = self._read(block.attention, projected, edges=edges, sets=count)
            sets = block(flat, read).view_as(sets)
        refined = sets.view_as(features)
        logits = self.classifier(self.embed(refined))
        return logits, refined

    def embed(self, refined: Tensor) -> Tensor:
        """Return embeddings from the last block's features: [..., d] through the BNNeck."""
        return self.bottleneck(refined.reshape(-1, self.dim)).view_as(refined)

    def affinity_lists(self, projected: Projected, sets: int = 1) -> tuple[Tensor, Tensor]:
        """Return each row's and head's k largest affinities with its set (Eq. 6).

        projected: [B·N·h, ·].   returns: values and rows [B·N, h, min(k, N)], largest first.
        """
        by_set = (sets, -1, self.heads, projected.keys.shape[1])
        asking, keys = (part.detach().view(by_set) for part in (projected.asking, projected.keys))
        found = [
            nearest_of(asking[each, :, head], keys[each, :, head], k=self.neighbours)
            for each in range(sets)
            for head in range(self.heads)
        ]
        values, lists = (torch.stack(part) for part in zip(*found, strict=True))
        values, lists = (
            part.view(sets, self.heads, *part.shape[1:]).transpose(1, 2) for part in (values, lists)
        )  # [B, N, h, k]
        return values.flatten(0, 1), join_sets(lists)

    def affinity_reach(self, values: Tensor) -> Tensor:
        """Return the affinity that a newcomer must exceed to be listed: [N, h, k] -> [N, h]."""
        if values.shape[2] < self.neighbours:
            return values.new_full(values.shape[:2], -torch.inf)
        return values[..., -1].contiguous()

    def kept(self, neighbours: Tensor) -> Tensor:
        """Return which entries of lists [N, H, k] are edges: the mask's, without the rows' own."""
        own = torch.arange(len(neighbours), device=neighbours.device)[:, None, None]
        kept = neighbours != own
        return kept & reciprocal(neighbours) if self.mask == "reciprocal" else kept

    def masked_edges(self, neighbours: Tensor) -> Edges:
        """Return the edges that the mask leaves of lists [N, H, k]."""
        kept = self.kept(neighbours)
        return Edges.of(neighbours, kept, heads=self.heads, sources=len(neighbours))

    def _cosine_edges(self, sets: Tensor, neighbours: Tensor | None) -> Edges | None:
        if self.mask == "none" or self.graph == "affinity":
            return None
        if neighbours is None:
            found = [
                nearest_neighbours(each, self.neighbours, method="exact")[1]
                for each in sets.detach()
            ]
            neighbours = torch.stack(found)
        lists = neighbours.reshape(*sets.shape[:2], 1, -1).to(sets.device, torch.int64)
        return self.masked_edges(join_sets(lists))

    def _read(
        self, attention: NeighbourAttention, projected: Projected, *, edges: Edges | None, sets: int
    ) -> Tensor:
        if self.mask == "none":
            return attention.read_all(projected, sets=sets)
        if edges is None:
            edges = self.masked_edges(self.affinity_lists(projected, sets)[1])
        return attention.read(projected, projected, edges=edges)


def join_sets(neighbours: Tensor) -> Tensor:
    """Number the rows of a batch of sets through: [B, N, H, k] -> [B·N, H, k]."""
    sets, rows = neighbours.shape[:2]
    first = torch.arange(sets, device=neighbours.device) * rows
    return (neighbours + first[:, None, None, None]).flatten(0, 1)


def _require_sound(settings: dict[str, Any]) -> None:
    for name in ("dim", "classes", "layers", "heads", "neighbours", "landmarks"):
        if settings[name] < 1:
            raise BadInput(f"NFormer: {name} must be at least 1, not {settings[name]}")
    if not 0 <= settings["dropout"] < 1:
        raise BadInput(f"NFormer: dropout must be in [0, 1), not {settings['dropout']}")
    for name, known in (("graph", Graph), ("mask", Mask), ("affinity", Affinity)):
        if settings[name] not in get_args(known):
            choices = ", ".join(get_args(known))
            raise BadInput(f"NFormer: {name} {settings[name]!r} is unknown; known are {choices}")
