"""nformer.pt: an NFormer's weights and settings."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadInput, blaming
from ..flow import command_line
from .checkpoints import load_checkpoint, require_sizes, save_checkpoint

if TYPE_CHECKING:
    import torch

    from ..nformer.model import NFormer

KIND = "nformer"


def save_nformer(path: str | Path, model: "NFormer", **facts: Any) -> None:
    """Write a model to `path` itself, with JSON-able facts about its making."""
    meta = {"kind": KIND, "model": model.settings, "facts": facts}
    save_checkpoint(Path(path), model.state_dict(), meta=meta)


def load_nformer(path: str | Path, *, device: "str | torch.device" = "cpu") -> "NFormer":
    """Return the model in nformer.pt, in evaluation mode on `device`.

    Raises:
        BadInput: no such file, truncated, or not an NFormer of ours.
    """
    from ..nformer.on_closed_form import build_model

    tensors, meta = load_checkpoint(Path(path))
    if meta.get("kind") != KIND:
        raise BadInput(
            f"{path} holds {meta.get('kind', 'something else')}, not an NFormer; one is made by "
            f"{command_line('train-nformer')}, or from the authors' file by "
            f"{command_line('import-nformer', 'FILE')}"
        )
    again = command_line("train-nformer", "--overwrite", run=Path(path).parent)
    saying = (
        "was written by another version of nformer, whose tensors or settings differ; make it "
        f"again with: {again}"
    )
    with blaming(path, saying=saying):
        require_sizes(Path(path), meta["model"], tensors=tensors)
        model = build_model(meta["model"])
        model.load_state_dict(tensors)
    return model.eval().to(device)
