"""gallery.pt: a refined gallery with its states and its model, ready for new queries."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BadInput
from .checkpoints import load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    import torch

    from ..gallery.states import GalleryState

KIND = "gallery states"


@dataclass(frozen=True)
class RefinedGallery:
    """A gallery's states and its labels: pids, camids [G] int64 and names."""

    state: "GalleryState"
    pids: np.ndarray
    camids: np.ndarray
    names: list[str]


def save_gallery(path: str | Path, gallery: RefinedGallery) -> None:
    """Write a refined gallery to `path` itself: about 4·d·(layers + 1) bytes an item."""
    import torch

    state, graph = gallery.state, gallery.state.graph
    tensors = {
        **{f"model/{name}": value for name, value in state.model.state_dict().items()},
        **{f"hidden/{number}": states for number, states in enumerate(state.hidden)},
        **{f"start/{name}": value for name, value in state_start(state).items()},
        "marks": state.marks,
        "pids": torch.from_numpy(gallery.pids),
        "camids": torch.from_numpy(gallery.camids),
    }
    for name, part in (("lists", graph.lists), ("kept", graph.kept), ("reach", graph.reach)):
        if part is not None:
            tensors[f"graph/{name}"] = part
    meta = {"kind": KIND, "model": state.model.settings, "names": gallery.names}
    save_checkpoint(Path(path), tensors, meta)


def load_gallery(path: str | Path, *, device: "str | torch.device" = "cpu") -> RefinedGallery:
    """Read gallery.pt; its state is what `refine_queries`, `add_items` and `remove_items` take.

    Raises:
        BadInput: no such file, truncated, or not a refined gallery of ours.
    """
    from ..gallery.graph import GalleryGraph
    from ..gallery.states import GalleryState
    from ..nformer.on_closed_form import build_model
    from ..refiners.closed_form import PriorGallery

    tensors, meta = load_checkpoint(Path(path))
    if meta.get("kind") != KIND:
        raise BadInput(
            f"{path} holds {meta.get('kind', 'something else')}, not a refined gallery; make one "
            "with nformer refine --keep-states"
        )
    model = build_model(meta["model"])
    model.load_state_dict(
        {name[6:]: value for name, value in tensors.items() if name.startswith("model/")}
    )
    model.eval().to(device)
    there = {name: tensor.to(device) for name, tensor in tensors.items() if name[:5] != "model"}
    lists, kept, reach = (there.get(f"graph/{name}") for name in ("lists", "kept", "reach"))
    hidden = tuple(there[f"hidden/{number}"] for number in range(len(model.blocks) + 1))
    start = {name[6:]: tensor for name, tensor in there.items() if name.startswith("start/")}
    state = GalleryState(
        model,
        hidden,
        there["marks"],
        GalleryGraph(lists, kept, reach, model.heads),
        PriorGallery.of(start) if start else None,
    )
    pids, camids = tensors["pids"].numpy(), tensors["camids"].numpy()
    return RefinedGallery(state, pids, camids, meta["names"])


def state_start(state: "GalleryState") -> dict[str, "torch.Tensor"]:
    """Return what a prior made of the gallery, by name; nothing where there is no prior."""
    return {} if state.start is None else state.start.tensors()
