"""Load a checkpoint of the authors' released code as an `NFormer`."""

import re
from collections.abc import Mapping

from torch import Tensor

from ..errors import BadInput
from .model import NFormer

PREFIXES = ("nformer.", "module.nformer.", "module.", "")
RENAMED = {  # theirs -> ours; their linear layers are stored [in, out], ours [out, in]
    "attn.c_proj.w": "attention.output.weight",
    "attn.c_proj.b": "attention.output.bias",
    "ln_1.g": "attention_norm.weight",
    "ln_1.b": "attention_norm.bias",
    "mlp.c_fc.w": "feed.widen.weight",
    "mlp.c_fc.b": "feed.widen.bias",
    "mlp.c_proj.w": "feed.narrow.weight",
    "mlp.c_proj.b": "feed.narrow.bias",
    "ln_2.g": "feed_norm.weight",
    "ln_2.b": "feed_norm.bias",
}
PARTS = ("query", "key", "value")  # of c_attn, side by side


def nformer_from_released(
    state_dict: Mapping[str, Tensor], *, neighbours: int = 20, landmarks: int = 5, heads: int = 2
) -> NFormer:
    """Return an `NFormer` with the weights of the released code's checkpoint, in evaluation mode.

    state_dict: `h.*`, `bottleneck.*` and `classifier.*`, with or without `nformer.` before them;
                whatever else a whole checkpoint holds (`backbone.*`) is left aside.

    Raises:
        BadInput: tensors are missing or of another shape; names them.
    """
    theirs = _below_prefix(state_dict)
    layers = 1 + max((int(name.split(".")[1]) for name in theirs if name[:2] == "h."), default=-1)
    if not layers or "classifier.weight" not in theirs:
        raise BadInput(
            "no NFormer of the released code's: wanted tensors h.0.attn.c_attn.w … and "
            f"classifier.weight, found {', '.join(sorted(state_dict)[:5]) or 'none'}"
        )
    outer = ("bottleneck.", "classifier.")
    ours = {name: tensor for name, tensor in theirs.items() if name.startswith(outer)}
    for layer in range(layers):
        ours.update(_block(theirs, layer))
    classes, dim = theirs["classifier.weight"].shape
    model = NFormer(
        dim=dim,
        classes=classes,
        layers=layers,
        heads=heads,
        neighbours=neighbours,
        landmarks=landmarks,
    )
    _load(model, ours)
    return model.eval()


def _below_prefix(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the NFormer's tensors, under their own names."""
    for prefix in PREFIXES:
        wanted = re.compile(re.escape(prefix) + r"(h\.\d+\.|bottleneck\.|classifier\.)")
        found = {
            name[len(prefix) :]: value for name, value in state_dict.items() if wanted.match(name)
        }
        if any(name.startswith("h.") for name in found):
            return found
    return {}


def _block(theirs: Mapping[str, Tensor], layer: int) -> dict[str, Tensor]:
    """Return one block's tensors under our names."""
    start, ours = f"h.{layer}.", {}
    for name, tensor in theirs.items():
        if name.startswith(start) and name[len(start) :] in RENAMED:
            new = RENAMED[name[len(start) :]]
            ours[f"blocks.{layer}.{new}"] = _turned(tensor)
    for kind, name in (("weight", "w"), ("bias", "b")):
        joined = theirs.get(f"{start}attn.c_attn.{name}")
        if joined is not None:
            for part, tensor in zip(PARTS, joined.chunk(3, dim=-1), strict=True):
                ours[f"blocks.{layer}.attention.{part}.{kind}"] = _turned(tensor)
    return ours


def _turned(tensor: Tensor) -> Tensor:
    return tensor.mT if tensor.ndim == 2 else tensor


def _load(model: NFormer, ours: Mapping[str, Tensor]) -> None:
    expected = model.state_dict()
    missing = sorted(set(expected) - set(ours) - {"bottleneck.num_batches_tracked"})
    wrong = sorted(
        f"{name} {list(ours[name].shape)}, wanted {list(expected[name].shape)}"
        for name in set(expected) & set(ours)
        if expected[name].shape != ours[name].shape
    )
    both = (("missing", missing), ("of another shape", wrong))
    problems = [f"{what} {', '.join(names[:5])}" for what, names in both if names]
    if problems:
        raise BadInput(f"the released checkpoint does not fit: {'; '.join(problems)}")
    model.load_state_dict(ours, strict=False)
