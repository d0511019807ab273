"""A network named on the command line, with its file: checked before anything is loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..artifacts.backbone import is_exported
from ..artifacts.run import Run
from ..config import BackboneConfig, ExtractConfig
from ..errors import BadInput
from ..files import file_digest, no_file

EXPORTED, TRAINED = "exported", "trained"
BACKBONE = "backbone.pt"
Use = Literal["once", "served", "many"]  # what a network is prepared for
PUBLISHED = "imagenet"  # --weights: those that torchvision or timm publishes with the network
# Settings of [extract] that are a network's, not the extraction's.
OF_THE_NETWORK = (
    *("preset", "height", "width", "resize", "fit", "crop", "channels", "scale", "mean", "std"),
    *("feature", "l2"),
)


@dataclass(frozen=True)
class GivenNetwork:
    """A network that was not trained here.

    arch:    its architecture; "" for an ONNX file, which holds it; "exported" for a .safetensors
             by `nformer export` and "trained" for the backbone.pt of a run, which name it.
    weights: the absolute path of its file, or "imagenet".
    """

    arch: str
    weights: str

    @property
    def arguments(self) -> list[str]:
        """The options that name it."""
        if not self.arch:
            return ["--onnx", self.weights]
        arch = [] if self.names_itself else ["--arch", self.arch]
        return [*arch, "--weights", self.weights]

    @property
    def option(self) -> str:
        """The options that name it, in words."""
        return " ".join(self.arguments)

    @property
    def names_itself(self) -> bool:
        """Whether its file says how it is built: one trained here, exported or not."""
        return self.arch in (EXPORTED, TRAINED)

    @property
    def is_onnx(self) -> bool:
        """Whether it is an ONNX file."""
        return not self.arch

    def as_table(self, config: ExtractConfig) -> dict[str, Any]:
        """Return what a manifest's config records of it: its name, and what settings change."""
        return {"arch": self.arch or "onnx", **network_settings(config)}

    def inputs(self) -> dict[str, str]:
        """Return what a manifest records of the file: its digest, by what it is."""
        if self.weights == PUBLISHED:
            return {}
        name = "onnx network" if self.is_onnx else "network weights"
        return {name: file_digest(Path(self.weights))}


def given_network(
    *, arch: str | None = None, weights: str | Path | None = None, onnx: str | Path | None = None
) -> GivenNetwork | None:
    """Return the network that these options name, or None where they name none.

    Raises:
        BadInput: options that do not go together, or a file that is not there.
    """
    if onnx is not None:
        if arch is not None or weights is not None:
            raise BadInput(
                f"--onnx {onnx} holds its architecture and weights: leave --arch and --weights out"
            )
        return GivenNetwork("", _file(onnx, option="--onnx", wanted="a network in ONNX format"))
    if arch is None and weights is None:
        return None
    if arch is None:
        path = Path(str(weights)).expanduser()
        if not no_file(path) and is_exported(path):
            return GivenNetwork(EXPORTED, str(path.resolve()))
        if not no_file(path) and path.name == BACKBONE and Run(path.parent).manifest(BACKBONE):
            return GivenNetwork(TRAINED, str(path.resolve()))
        raise BadInput(
            f"--weights {weights} needs --arch NAME: which network are they of? Only the "
            "backbone.pt of a run and a .safetensors by nformer export say it themselves"
        )
    if weights is None:
        raise BadInput(
            f"--arch {arch} needs --weights: a file, or {PUBLISHED} for those that torchvision or "
            "timm publishes"
        )
    if str(weights) == PUBLISHED:
        return GivenNetwork(arch, PUBLISHED)
    return GivenNetwork(arch, _file(weights, option="--weights", wanted="a file of weights"))


def network_settings(config: ExtractConfig) -> dict[str, Any]:
    """Return what of a config is not left to the network itself."""
    default = ExtractConfig()
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key in OF_THE_NETWORK
        if (value := getattr(config, key)) != getattr(default, key)
    }


def require_own(config: ExtractConfig) -> None:
    """Raise BadInput where settings would feed a trained backbone other images than in training."""
    changed = network_settings(config)
    size = {"height": BackboneConfig.height, "width": BackboneConfig.width}  # of earlier versions
    if changed and changed != size:
        listed = ", ".join(f"{key}={value}" for key, value in changed.items())
        raise BadInput(
            f"--set {listed}: backbone.pt takes images as it was trained with; this is for a "
            "network given with --arch or --onnx"
        )


def _file(path: str | Path, *, option: str, wanted: str) -> str:
    found = Path(path).expanduser()
    problem = no_file(found)
    if problem == "is not there":
        raise BadInput(f"{option} {path}: no such file; {wanted} is wanted")
    if problem:
        raise BadInput(f"{option} {path}: it {problem}; {wanted} is wanted")
    return str(found.resolve())
