"""A backbone as one network for export: images in, embeddings out."""

import torch
from torch import Tensor, nn

from .backbone import Backbone


class EmbeddingNetwork(nn.Module):
    """What an exported file computes: normalised images -> embeddings after the BNNeck.

    A plain module without autocast or named outputs, which exporters can follow.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.body, self.projection = backbone.body, backbone.projection
        self.bottleneck = backbone.bottleneck

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W] float32, normalised.   returns: [B, dim] float32."""
        return self.bottleneck(self.projection(self.body(images)))


def example_images(height: int, width: int, *, count: int = 2) -> Tensor:
    """Return [count, 3, height, width] normalised noise to trace and to compare with."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, height, width, generator=generator)
