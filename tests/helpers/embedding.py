"""Embed opened pictures by a network, one after another, without a stage."""

import numpy as np
import torch

from pipelines.data.images import fitted


def embed_images(network, pictures):
    """Return the embeddings [N, d] float32 of opened pictures."""
    arrays = np.stack([fitted(picture, network.preprocessing) for picture in pictures])
    batch = torch.from_numpy(arrays).permute(0, 3, 1, 2)
    return network.of_images(batch).float().cpu().numpy()
