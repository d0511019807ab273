"""The image encoder: a classification network's body, a linear layer, BNNeck and a classifier."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import BadInput
from .abdnet import BRANCH, ABDNet
from .light_torchvision import torchvision_models
from .names import require_timm, require_trainable
from .osnet import CHANNELS, FEATURES, OSNet

LastStage = Literal["dilated", "stride1", "stride2"]
HEADS = ("fc", "classifier", "head", "heads")  # what torchvision calls the part after pooling


class BackboneOutput(NamedTuple):
    """embedding: [B, dim] before the BNNeck.   logits: [B, classes]."""

    embedding: Tensor
    logits: Tensor


class Backbone(nn.Module):
    """Images -> embeddings (paper, section 4.2).

    body:  any network from [B, 3, H, W] to [B, width], pooled.
    body_classifier: the name of the layer that the body lacks of the network it comes from.
    In training, `forward` returns the embedding that the triplet and center losses look at and the
    logits of the identity loss; in evaluation, the embedding after the BNNeck (Luo et al., 2019).
    """

    def __init__(
        self, *, body: nn.Module, width: int, dim: int, classes: int, body_classifier: str = ""
    ) -> None:
        super().__init__()
        self.body = body
        self.body_classifier = body_classifier
        self.projection = nn.Linear(width, dim)
        self.bottleneck = nn.BatchNorm1d(dim)
        self.bottleneck.bias.requires_grad_(False)  # no shift: the classifier has no bias either
        self.classifier = nn.Linear(dim, classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def embed(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W] normalised.   returns: [B, dim] float32, before the BNNeck."""
        pooled = self.body(images)  # [B, width]
        with torch.autocast(images.device.type, enabled=False):
            embedding: Tensor = self.projection(pooled.float())
        return embedding

    def forward(self, images: Tensor) -> BackboneOutput | Tensor:
        """images: [B, 3, H, W] normalised.   returns: see the class; all float32."""
        embedding = self.embed(images)
        with torch.autocast(images.device.type, enabled=False):
            neck: Tensor = self.bottleneck(embedding)
            if not self.training:
                return neck
            return BackboneOutput(embedding, self.classifier(neck))


def with_mirrors(embed: Callable[[Tensor], Any], images: Tensor, *, flip: bool) -> Tensor:
    """Return embed(images), for `flip` averaged with the embeddings of their mirror images."""
    found: Tensor = embed(images)
    return (found + embed(images.flip(3))) / 2 if flip else found


def build_backbone(
    arch: str,
    *,
    classes: int,
    dim: int = 256,
    last_stage: LastStage = "dilated",
    size: tuple[int, int] = (256, 128),
) -> Backbone:
    """Return a backbone with new weights, drawn from torch's global generator.

    arch:       a torchvision classification network that ends in pooled features, `abdnet`,
                `osnet_x1_0` (and narrower), or `timm:NAME` where timm is installed.
    last_stage: ResNets only: keep the last stage's resolution by dilation (paper) or by stride 1
                alone (released code), or leave it as it is. ABD-Net always keeps it by stride 1.
    size:       height and width of the images; only some of timm's networks must know it.

    Raises:
        BadInput: there is no such network, or it does not end in pooled features.
    """
    classifier = ""
    if arch in CHANNELS:
        body: nn.Module = OSNet(CHANNELS[arch])
        width, classifier = FEATURES, "classifier"
    elif arch == "abdnet":
        resnet = torchvision_network("resnet50")
        keep_resolution(resnet, "stride1")
        body, width = ABDNet(resnet), 2 * BRANCH
        classifier = "fc"
    elif arch.startswith("timm:"):
        body, width = timm_network(arch, size)
    else:
        body = torchvision_network(arch)
        keep_resolution(body, last_stage)
        width, classifier = remove_classifier(body, arch)
    return Backbone(body=body, width=width, dim=dim, classes=classes, body_classifier=classifier)


def require_image_size(backbone: Backbone, arch: str, *, height: int, width: int) -> None:
    """Check that a network takes images of this size, on one black image.

    Raises:
        BadInput: it does not; says what the network says.
    """
    training = backbone.training
    try:
        with torch.no_grad():
            backbone.eval()(torch.zeros(1, 3, height, width))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(
            f"--arch {arch} does not take images of {height}×{width}: {reason}. Change --height "
            "and --width, or take another network"
        ) from error
    finally:
        backbone.train(training)


def timm_network(
    arch: str, size: tuple[int, int] | None, *, pretrained: bool = False, **settings: Any
) -> tuple[nn.Module, int]:
    """Return timm's network up to its pooled features, and their width.

    arch: timm:NAME, timm:NAME.TAG, timm:hf-hub:ORG/NAME or timm:local-dir:FOLDER.
    size: height and width of the images; None: as it was published.
    pretrained: with the weights that it was published with, downloaded once; else with new ones.
    """
    name = arch.removeprefix("timm:")
    require_timm(arch)
    import timm

    stored = name.startswith(("hf-hub:", "hf_hub:", "local-dir:"))
    base, _, tag = name.partition(".")
    if not stored and (base not in timm.list_models() or tag not in ("", *_tags(base))):
        near = get_close_matches(name, [*timm.list_models(), *_full(base)], cutoff=0.3)
        raise BadInput(f"--arch {arch}: timm has no such network; near are {', '.join(near)}")
    configuration = None if stored else timm.get_pretrained_cfg(name)
    if size is not None and configuration is not None and configuration.fixed_input_size:
        settings["img_size"] = size
    try:
        body = timm.create_model(name, num_classes=0, pretrained=pretrained, **settings)
    except (OSError, RuntimeError, ValueError, AssertionError, ImportError) as error:
        raise BadInput(_not_built(arch, error, stored=stored)) from error
    width: Any = getattr(body, "head_hidden_size", None) or body.num_features
    return body, int(width)


def _tags(base: str) -> list[str]:
    return [name.partition(".")[2] for name in _full(base)]


def _full(base: str) -> list[str]:
    import timm

    return [name for name in timm.list_pretrained(f"{base}.*") if name.startswith(f"{base}.")]


def _not_built(arch: str, error: Exception, *, stored: bool) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    text = f"--arch {arch} cannot be built: {reason}"
    if not stored:
        return text
    return (
        f"{text}. Without a network, download the model's folder (config.json and its weights) on "
        "another machine and give --arch timm:local-dir:FOLDER"
    )


def torchvision_network(arch: str) -> nn.Module:
    """Return torchvision's classification network `arch`, with new weights."""
    require_trainable(arch)
    models = torchvision_models()
    settings: dict[str, Any] = {"weights": None}
    if arch in ("googlenet", "inception_v3"):
        settings.update(aux_logits=False, init_weights=True)
    return models.get_model(arch, **settings)


def remove_classifier(network: nn.Module, arch: str) -> tuple[int, str]:
    """Replace a network's last linear layer, and its head's dropout, by the identity, in place.

    The names of all other tensors stay, so that state dicts of the whole network fit.
    Returns the width of the features and the name of the layer that is gone.
    """
    head = next((name for name in HEADS if hasattr(network, name)), None)
    below = network.get_submodule(head).named_modules(prefix=head) if head else []
    layers = dict(below)
    linears = [name for name, module in layers.items() if isinstance(module, nn.Linear)]
    if not linears:
        raise BadInput(f"--arch {arch} does not end in pooled features and a linear classifier")
    width = layers[linears[-1]].in_features
    _replace(network, linears[-1], module=nn.Identity())
    for name, module in layers.items():
        if isinstance(module, nn.Dropout):  # metric losses see the features as they are
            _replace(network, name, module=nn.Identity())
    return int(width), linears[-1]


def keep_resolution(body: nn.Module, last_stage: LastStage) -> None:
    """Take the stride of a ResNet's last stage away, so that the total stride is 16, in place.

    dilated: its later 3×3 convolutions are dilated by 2 (as torchvision's
    `replace_stride_with_dilation`, for every depth); stride1: they stay as they are.
    """
    stage = getattr(body, "layer4", None)
    if last_stage == "stride2" or not isinstance(stage, nn.Sequential):
        return
    for position, block in enumerate(stage):
        for module in block.modules():
            if not isinstance(module, nn.Conv2d):
                continue
            module.stride = (1, 1)
            if position > 0 and last_stage == "dilated" and module.kernel_size == (3, 3):
                module.dilation = module.padding = (2, 2)


def _replace(network: nn.Module, name: str, *, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)
