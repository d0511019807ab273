"""Open the network that embeds pictures: a run's backbone, any other network, or an ONNX file."""

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ..artifacts.backbone import load_backbone, load_exported
from ..artifacts.checkpoints import load_untrusted
from ..artifacts.run import Run
from ..backbones.as_is import Architecture, AsIs, architecture, chosen_feature
from ..backbones.backbone import with_mirrors
from ..backbones.embedder import Embedder
from ..backbones.onnx_network import METADATA, OnnxNetwork
from ..backbones.state_dicts import LoadedWeights, load_network
from ..backbones.uninitialised import SkipInitialisation
from ..config import ExtractConfig
from ..data.augment import normalise
from ..errors import BadInput, blaming
from ..preprocessing import Preprocessing
from ..progress import Progress, Silent
from ..training.initial_weights import imagenet_weights
from ..training.precision import DTYPES, choose_precision
from .given import EXPORTED, PUBLISHED, TRAINED, GivenNetwork, Use, require_own

AS_EXPORTED = "as exported"


class Embeds(Protocol):
    """Normalised images [B, 3, H, W] -> embeddings [B, d] float32."""

    def __call__(self, images: Tensor) -> Tensor:
        """Embed a batch."""


class Network(NamedTuple):
    """What embeds, what it wants of images, and the precision and the device that it computes in.

    feature: which of the network's features it gives; "" for a backbone's.
    """

    embed: Embeds
    preprocessing: Preprocessing
    precision: str
    device: torch.device
    feature: str = ""

    def facts(self, given: GivenNetwork | None) -> dict[str, Any]:
        """Return what a manifest records, to open the network again; nothing of backbone.pt."""
        if given is None:
            return {}
        wants = {"feature": self.feature, "preprocessing": self.preprocessing.as_table()}
        return {"network": {"arch": given.arch, "weights": given.weights, **wants}}

    def of_images(self, images: Tensor) -> Tensor:
        """Return the embeddings [B, d] float32 of fitted RGB images [B, 3, H, W] uint8."""
        there = images.to(self.device, non_blocking=True)
        return self.embed(normalise(there, self.preprocessing))


def open_network(
    run: Run,
    given: GivenNetwork | None,
    *,
    config: ExtractConfig,
    device: torch.device,
    use: Use = "many",
    progress: Progress = Silent(),
) -> Network:
    """Return a network, ready to embed: the one given, or else the run's backbone.

    use: what it is prepared for. "once": as it is, in float32, which is ready soonest; "served":
         batch norms folded, in float32, for an image at a time; "many": folded, and in bf16 where
         that is fast. They give the same within rounding.

    Raises:
        MissingArtifact: there is no backbone.pt.
        BadInput: no such network, weights that do not fit it, or settings that it does not have.
    """
    if given is None:
        return backbone_network(run.artifact("backbone.pt"), config, device=device, use=use)
    if given.is_onnx:
        return _onnx_network(given, config, device=device, progress=progress)
    if given.arch == TRAINED:
        path = Path(given.weights)
        whole = Run(path.parent).artifact(path.name)
        return backbone_network(whole, config, device=device, use=use)
    if given.arch == EXPORTED:
        return _exported(given, config, device=device, use=use)
    return _as_is(given, config, device=device, use=use, progress=progress)


def backbone_network(
    path: Path, config: ExtractConfig, *, device: torch.device, use: Use = "many"
) -> Network:
    """Return a trained backbone, ready to embed."""
    require_own(config)
    backbone, facts = load_backbone(path)
    preprocessing = Preprocessing(height=facts["height"], width=facts["width"])
    embed, precision = _prepared(
        backbone, config, device=device, use=use, width=preprocessing.width
    )
    return Network(embed, preprocessing, precision, device)


def _exported(
    given: GivenNetwork, config: ExtractConfig, *, device: torch.device, use: Use
) -> Network:
    """Return a backbone that was trained and exported elsewhere."""
    backbone, metadata = load_exported(Path(given.weights))
    with blaming(Path(given.weights), saying=f"its metadata {METADATA} cannot be read"):
        stated = Preprocessing.of(json.loads(metadata[METADATA]))
    preprocessing = chosen_preprocessing(stated, config)
    embed, precision = _prepared(
        backbone, config, device=device, use=use, width=preprocessing.width
    )
    return Network(embed, preprocessing, precision, device)


def _as_is(
    given: GivenNetwork,
    config: ExtractConfig,
    *,
    device: torch.device,
    use: Use,
    progress: Progress,
) -> Network:
    """Return an architecture with its weights, as they are."""
    with SkipInitialisation():
        known = architecture(given.arch)
        preprocessing = chosen_preprocessing(known.preprocessing, config)
        feature = chosen_feature(known, config.feature, arch=given.arch)
        size = preprocessing.height, preprocessing.width
        if given.weights == PUBLISHED and given.arch.startswith("timm:"):
            body, loaded = known.build(size=size, feature=feature, pretrained=True), None
        else:
            body = known.build(size=size, feature=feature)
            loaded = _load(body, given, known=known)
    if loaded is not None:
        progress.message(f"{given.weights}: {loaded}")
    if preprocessing.fit == "crop":
        progress.warn(
            f"--arch {given.arch} was published with pictures cut to their centre "
            f"({preprocessing.shape}): tall or wide ones lose their ends. --set fit=stretch takes "
            "them whole"
        )
    network = AsIs(body.eval(), l2=config.l2).eval()
    require_size(network, given.arch, preprocessing=preprocessing)
    embed, precision = _prepared(network, config, device=device, use=use, width=preprocessing.width)
    return Network(embed, preprocessing, precision, device, feature)


def chosen_preprocessing(
    own: Preprocessing, config: ExtractConfig, **fixed: int | None
) -> Preprocessing:
    """Return a network's own preprocessing with what the settings change.

    fixed: the height and the width of the only images that the network takes; None: any.

    Raises:
        BadInput: an unknown preset, a size that the network does not take, or a mean or deviation
            that is not one of three channels.
    """
    if config.preset != "own":
        own = architecture(config.preset).preprocessing
    changed: dict[str, Any] = {key: size for key, size in fixed.items() if size}
    for key, size in changed.items():
        if getattr(config, key) not in (0, size):
            raise BadInput(f"--set {key}={getattr(config, key)}: the network takes {size} only")
    for field in dataclasses.fields(Preprocessing):
        value = getattr(config, field.name)
        if value not in ("own", 0, ()):
            changed[field.name] = value
    for key in ("mean", "std"):
        values = changed.get(key, own.mean)
        if len(values) not in (1, 3):
            raise BadInput(
                f"[extract] {key}: {len(values)} values; one of each channel is wanted, as in "
                f"--set {key}=[0.5,0.5,0.5]"
            )
        if key in changed:
            changed[key] = tuple(values) * (3 if len(values) == 1 else 1)
    if changed.get("scale", 1) not in (1, 255):
        raise BadInput(f"[extract] scale: {config.scale}; white is 1 or 255")
    return dataclasses.replace(own, **changed)


def require_size(network: nn.Module, arch: str, *, preprocessing: Preprocessing) -> None:
    """Check that a network takes images of this size, on one black image.

    Raises:
        BadInput: it does not; says what the network says.
    """
    height, width = preprocessing.height, preprocessing.width
    try:
        with torch.inference_mode():
            found = network(torch.zeros(1, 3, height, width))
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(
            f"--arch {arch} does not take images of {height}×{width}: {reason}. Change them with "
            "--set height=… --set width=…"
        ) from error
    if found.ndim != 2:
        raise BadInput(f"--arch {arch} gives {list(found.shape)}, no embedding of each image")


def _load(body: nn.Module, given: GivenNetwork, *, known: Architecture) -> LoadedWeights:
    if given.weights == PUBLISHED:
        content, source = imagenet_weights(given.arch), f"{given.arch}'s published weights"
    else:
        content, source = load_untrusted(Path(given.weights)), given.weights
    rename: Callable[..., Any] | None = None
    if known.rename is not None:
        rename = partial(known.rename, network=body)
    return load_network(body, content, source=source, rename=rename)


def _prepared(
    network: nn.Module, config: ExtractConfig, *, device: torch.device, use: Use, width: int
) -> tuple[Embeds, str]:
    if use == "served" and device.type == "cpu":
        return Embedder(network, device=device, dtype=torch.float32, flip=config.flip), "off"
    if use == "many" or device.type != "cpu":
        precision = choose_precision(config.amp, device, network=network, image_width=width)
        embedder = Embedder(network, device=device, dtype=DTYPES[precision], flip=config.flip)
        return embedder, precision
    return partial(_plainly, network=network.to(device), flip=config.flip), "off"


def _plainly(images: Tensor, *, network: nn.Module, flip: bool) -> Tensor:
    with torch.inference_mode():
        return with_mirrors(network, images, flip=flip)


def _onnx_network(
    given: GivenNetwork, config: ExtractConfig, *, device: torch.device, progress: Progress
) -> Network:
    """Return an ONNX network; what it wants of images is in its metadata, or ImageNet's."""
    output = "" if config.feature == "own" else config.feature
    network = OnnxNetwork(given.weights, device=device.type, output=output)
    stated = network.preprocessing
    preprocessing = chosen_preprocessing(
        stated or Preprocessing(), config, height=network.height, width=network.width
    )
    if stated is None and not (config.mean or config.preset != "own"):
        progress.warn(
            f"{given.weights} does not say what it wants of images: taken are RGB from 0 to 1, "
            "less ImageNet's mean, by its deviation. If it wants another: --set mean=… --set std=… "
            "--set scale=255 --set channels=bgr, or --set preset=NAME for a published network's"
        )
    embedder = OnnxEmbedder(network, flip=config.flip, l2=config.l2)
    cpu = torch.device("cpu")
    return Network(embedder, preprocessing, AS_EXPORTED, cpu, network.output)


class OnnxEmbedder:
    """An ONNX network as a torch network's stand-in: tensors in and out, on the CPU."""

    def __init__(self, network: OnnxNetwork, *, flip: bool, l2: bool = False) -> None:
        self.network, self.flip, self.l2 = network, flip, l2

    def __call__(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W] float32, normalised.   returns: [B, d] float32."""

        def embed(given: Tensor) -> Tensor:
            return torch.from_numpy(self.network(given.numpy()))

        found = with_mirrors(embed, images, flip=self.flip)
        return nn.functional.normalize(found) if self.l2 else found
