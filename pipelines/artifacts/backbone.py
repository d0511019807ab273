"""backbone.pt: a trained image encoder and how to build it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadInput, blaming
from ..flow import command_line
from .checkpoints import load_checkpoint, require_sizes, save_checkpoint
from .safetensors_files import load_safetensors, safetensors_bytes, safetensors_metadata

if TYPE_CHECKING:
    from torch import Tensor

    from ..backbones.backbone import Backbone

KIND = "backbone"
EXPORTED = "nformer.backbone"  # the key of a .safetensors' metadata that says how it is built
BUILT_FROM = ("arch", "last_stage", "dim", "height", "width")


def save_backbone(path: Path, backbone: "Backbone", *, facts: dict[str, Any]) -> None:
    """Write a backbone to `path` itself; `facts` are those that `load_backbone` builds it from.

    facts: arch, last_stage, dim, classes, height, width.
    """
    save_checkpoint(path, backbone.state_dict(), meta={"kind": KIND, **facts})


def load_backbone(path: str | Path) -> tuple["Backbone", dict[str, Any]]:
    """Return the backbone of a backbone.pt, in evaluation mode on the CPU, and its facts.

    Raises:
        BadInput: not a backbone's checkpoint.
    """
    from ..backbones.backbone import build_backbone
    from ..backbones.uninitialised import SkipInitialisation

    tensors, facts = load_checkpoint(Path(path))
    if facts.get("kind") != KIND:
        raise BadInput(f"{path} is a checkpoint of another kind; a backbone.pt is wanted")
    again = command_line("train-backbone", "DATASET", "--overwrite", run=Path(path).parent)
    saying = f"is damaged or was written by another version; make it again with: {again}"
    with blaming(path, saying=saying), SkipInitialisation():
        require_sizes(Path(path), facts, tensors=tensors)
        size = int(facts["height"]), int(facts["width"])
        backbone = build_backbone(
            facts["arch"],
            classes=facts["classes"],
            dim=facts["dim"],
            last_stage=facts["last_stage"],
            size=size,
        )
        backbone.load_state_dict(tensors, assign=True)
    return backbone.eval(), facts


def exported_bytes(
    tensors: "dict[str, Tensor]", facts: dict[str, Any], *, metadata: dict[str, str]
) -> bytes:
    """Return the content of a .safetensors from which `load_exported` builds the backbone."""
    built = json.dumps({key: facts[key] for key in BUILT_FROM})
    return safetensors_bytes(tensors, metadata={**metadata, EXPORTED: built})


def is_exported(path: Path) -> bool:
    """Return whether a file is a backbone that `nformer export` wrote as .safetensors."""
    return path.suffix == ".safetensors" and EXPORTED in safetensors_metadata(path)


def load_exported(path: Path) -> tuple["Backbone", dict[str, str]]:
    """Return the backbone of an exported .safetensors, in evaluation mode, and its metadata.

    Raises:
        BadInput: the file is damaged, or was made by hand.
    """
    from ..backbones.backbone import build_backbone
    from ..backbones.uninitialised import SkipInitialisation

    metadata, tensors = safetensors_metadata(path), load_safetensors(path)
    with blaming(path, saying="is damaged; export it again"), SkipInitialisation():
        facts, dim = json.loads(metadata[EXPORTED]), len(tensors["projection.weight"])
        backbone = build_backbone(
            facts["arch"],
            classes=1,
            dim=dim,
            last_stage=facts["last_stage"],
            size=(int(facts["height"]), int(facts["width"])),
        )
        tensors["classifier.weight"] = tensors["projection.weight"].new_zeros(1, dim)
        backbone.load_state_dict(tensors, assign=True)
    return backbone.eval(), metadata
