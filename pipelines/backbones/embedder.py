"""A trained backbone made fast for embedding: batch norms folded, bf16, mirrored views."""

import copy

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.fx.proxy import TraceError

from .backbone import Backbone, with_mirrors


class Embedder:
    """Normalised images -> the backbone's embeddings after the BNNeck, as in its evaluation mode.

    The backbone is copied: its batch norms are folded into the convolutions where torch.fx can
    follow the network, and its body computes in `dtype`; projection and neck stay in float32.
    flip: average the embeddings of an image and of its mirror image.
    """

    def __init__(
        self, backbone: Backbone, *, device: torch.device, dtype: torch.dtype, flip: bool = False
    ) -> None:
        self.device, self.flip = device, flip
        self.backbone = copy.deepcopy(backbone).to(device).eval()
        self.backbone.body = self.backbone.body.to(memory_format=torch.channels_last)
        self.dtype = dtype
        self.folded = fold_batch_norms(self.backbone)
        if self.folded:
            self.backbone.body.to(dtype)

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
            output: Tensor = self.backbone(images)
        return output


def fold_batch_norms(backbone: Backbone) -> bool:
    """Fold the body's batch norms into its convolutions, in place; False where that cannot be."""
    try:
        folded: nn.Module = fuse(backbone.body, inplace=True)
    except TraceError:  # the network's path depends on its input: it stays as it is
        return False
    backbone.body = folded.to(memory_format=torch.channels_last)
    return True
