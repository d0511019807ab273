"""A trained network made fast for embedding: batch norms folded, bf16, mirrored views."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.fx.proxy import TraceError

from .backbone import with_mirrors


class Embedder:
    """Normalised images -> the network's embeddings, as in its evaluation mode.

    network: a `Backbone` or another network with a `body`. It is copied: the body's batch norms are
             folded into the convolutions where torch.fx can follow it, and it computes in `dtype`;
             what follows the body stays in float32.
    flip: average the embeddings of an image and of its mirror image.
    """

    def __init__(
        self, network: nn.Module, *, device: torch.device, dtype: torch.dtype, flip: bool = False
    ) -> None:
        self.device, self.flip = device, flip
        self.network: Any = copy.deepcopy(network).to(device).eval()
        self.network.body = self.network.body.to(memory_format=torch.channels_last)
        self.dtype = dtype
        self.folded = fold_batch_norms(self.network)
        if self.folded:
            self.network.body.to(dtype)

    def __call__(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W] float32, normalised.   returns: [B, dim] float32."""
        with torch.inference_mode():
            return with_mirrors(self._embed, images, flip=self.flip)

    def _embed(self, images: Tensor) -> Tensor:
        lower = self.dtype != torch.float32
        if self.folded and lower:
            images = images.to(self.dtype)
        enabled = lower and not self.folded
        with torch.autocast(self.device.type, dtype=self.dtype if lower else None, enabled=enabled):
            output: Tensor = self.network(images)
        return output


def fold_batch_norms(network: Any) -> bool:
    """Fold the body's batch norms into its convolutions, in place; False where that cannot be."""
    try:
        folded: nn.Module = fuse(network.body, inplace=True)
    except (TraceError, TypeError, ValueError, RuntimeError, AttributeError, KeyError):
        return False  # its path depends on its input, or is Python that fx cannot follow
    network.body = folded.to(memory_format=torch.channels_last)
    return True
