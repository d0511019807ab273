"""Whether NFormer uses camera ids at test time: what it was trained for, what is known, allowed."""

from dataclasses import replace

import numpy as np

from ..errors import BadInput
from ..flow import command_line
from ..nformer.model import NFormer
from ..nformer.on_closed_form import NFormerOnClosedForm
from ..refiners.chain import Pair


def uses_cameras(model: NFormer, pair: Pair, *, wanted: str) -> bool:
    """Return whether a model uses the cameras of a query and a gallery.

    wanted: "auto": where it was trained for it; "off": never; "on": it must.

    Raises:
        BadInput: it must and cannot.
    """
    known = all(items.has_cameras for items in pair)
    able = isinstance(model, NFormerOnClosedForm) and model.uses_cameras
    if wanted == "on" and not known:
        raise BadInput("--camera-aware on: no camera ids are known for query and gallery")
    if wanted == "on" and not able:
        raise BadInput(
            "--camera-aware on: this NFormer makes no use of camera ids; train one that does "
            f"with: {command_line('train-nformer', '--camera-aware', 'on', '--overwrite')}"
        )
    return known and able and wanted != "off"


def shown_to(pair: Pair, *, aware: bool) -> Pair:
    """Return a query and a gallery, their cameras unknown where they must not be used."""
    if aware:
        return pair
    query, gallery = (replace(items, camids=np.full(len(items), -1)) for items in pair)
    return query, gallery


def relabelled(pair: Pair, refined: Pair) -> Pair:
    """Return the items of a pair with refined features."""
    return pair[0].with_features(refined[0].features), pair[1].with_features(refined[1].features)
