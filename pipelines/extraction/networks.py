"""Load the network that embeds images: a run's backbone, or an ONNX file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ..artifacts.backbone import load_backbone
from ..backbones.backbone import with_mirrors
from ..backbones.embedder import Embedder
from ..backbones.onnx_network import OnnxNetwork
from ..config import ExtractConfig
from ..data.catalogue import open_dataset
from ..data.samples import Dataset
from ..errors import BadInput
from ..progress import Progress
from ..training.precision import DTYPES, choose_precision


class Embeds(Protocol):
    """Normalised images [B, 3, H, W] on `device` -> embeddings [B, d] float32."""

    device: torch.device

    def __call__(self, images: Tensor) -> Tensor:
        """Embed a batch."""


class Network(NamedTuple):
    """What embeds, the size of the images that it takes, and the precision it computes in."""

    embed: Embeds
    height: int
    width: int
    precision: str


def backbone_network(path: Path, config: ExtractConfig, *, device: torch.device) -> Network:
    """Return a run's backbone, ready to embed."""
    backbone, facts = load_backbone(path)
    precision = choose_precision(config.amp, device, network=backbone)
    embedder = Embedder(backbone, device=device, dtype=DTYPES[precision], flip=config.flip)
    return Network(embedder, facts["height"], facts["width"], precision)


def onnx_network(path: str | Path, config: ExtractConfig, *, device: torch.device) -> Network:
    """Return an ONNX network, ready to embed; one of any image size takes the configured one."""
    network = OnnxNetwork(path, device=device.type)
    height, width = network.height or config.height, network.width or config.width
    return Network(OnnxEmbedder(network, flip=config.flip), height, width, "as exported")


class OnnxEmbedder:
    """An ONNX network as the backbone's stand-in: torch tensors in and out, on the CPU."""

    def __init__(self, network: OnnxNetwork, *, flip: bool) -> None:
        self.network, self.flip = network, flip
        self.device = torch.device("cpu")

    def __call__(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W] float32, normalised.   returns: [B, d] float32."""

        def embed(given: Tensor) -> Tensor:
            return torch.from_numpy(self.network(given.numpy()))

        return with_mirrors(embed, images, flip=self.flip)


def dataset_for_onnx(
    onnx: str | Path,
    dataset: str | None,
    *,
    root: str | Path | None,
    options: Mapping[str, Any] | None,
    progress: Progress,
) -> Dataset:
    """Return the data set to embed with a network that was not trained here."""
    if dataset is None or root is None:
        raise BadInput(
            f"--onnx {onnx} needs --dataset NAME and --root DIR: no backbone.pt names it"
        )
    if not Path(onnx).is_file():
        raise BadInput(f"--onnx {onnx}: no such file; a network in ONNX format is wanted")
    return open_dataset(dataset, root, options=options, progress=progress)
