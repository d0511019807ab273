"""A backbone's initial weights: `--weights imagenet | none | PATH`."""

from pathlib import Path
from urllib.error import URLError

from ..artifacts.checkpoints import load_untrusted
from ..backbones.backbone import Backbone
from ..backbones.light_torchvision import torchvision_models
from ..backbones.names import initial_weights_file
from ..backbones.published import published
from ..backbones.state_dicts import LoadedWeights, load_weights
from ..errors import BadInput
from ..files import file_digest


def start_from(backbone: Backbone, weights: str, *, arch: str) -> LoadedWeights | None:
    """Give a new backbone its first weights, in place; None when they stay random.

    Raises:
        BadInput: a file that is missing or does not fit, or weights that cannot be downloaded.
    """
    if weights == "none":
        return None
    if weights == "imagenet":
        return load_weights(backbone, imagenet_weights(arch), source=f"{arch}'s ImageNet weights")
    return load_weights(backbone, load_untrusted(Path(weights).expanduser()), source=weights)


def weights_digest(weights: str) -> dict[str, str]:
    """Return what a manifest records of a file of weights: its digest; nothing for other kinds."""
    path = initial_weights_file(weights)
    return {} if path is None else {"weights": file_digest(path)}


def imagenet_weights(arch: str) -> object:
    """Return torchvision's first ImageNet weights of a network, downloaded once by torch.

    The first ones, not the newest: they are what the field's numbers start from.

    Raises:
        BadInput: torchvision has none, or they cannot be downloaded; says the two ways out.
    """
    if arch.startswith("timm:"):
        return _timm_weights(arch)
    if published(arch) is not None and arch != "abdnet":
        raise BadInput(
            f"--weights imagenet: torchvision has none for {arch}; give --weights PATH, a "
            "checkpoint of its authors', or train from random weights with --weights none"
        )
    arch = "resnet50" if arch == "abdnet" else arch
    known = list(torchvision_models().get_model_weights(arch))
    if not known:
        raise BadInput(f"--weights imagenet: torchvision has none for {arch}; use --weights none")
    first = known[0]
    try:
        return first.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise BadInput(
            f"--weights imagenet: {first.url} cannot be downloaded ({_first_line(error)}). Either "
            f"download it on another machine and give --weights PATH, or start from random "
            "weights with --weights none"
        ) from error


def _timm_weights(arch: str) -> object:
    import timm

    name = arch.removeprefix("timm:")
    try:
        return timm.create_model(name, pretrained=True, num_classes=0).state_dict()
    except (URLError, OSError, RuntimeError) as error:
        raise BadInput(
            f"--weights imagenet: timm cannot fetch {name} ({_first_line(error)}). Either give "
            "--weights PATH, or start from random weights with --weights none"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
