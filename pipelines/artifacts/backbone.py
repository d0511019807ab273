"""backbone.pt: a trained image encoder and how to build it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadInput, blaming
from .checkpoints import load_checkpoint, require_sizes, save_checkpoint

if TYPE_CHECKING:
    from ..backbones.backbone import Backbone

KIND = "backbone"


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
    saying = "is damaged or was written by another version; make it again with train-backbone"
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
