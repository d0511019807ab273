"""Feature refiners that train no network, by name, and chains of them."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..embeddings import Embeddings
from ..errors import BadInput
from ..neighbours.graph import Neighbourhoods
from .base import Pair, RefineProtocol, Refiner
from .centralisation import centralise
from .centring import centre_cameras
from .expansion import expand_queries
from .propagation import propagate
from .whitening import whiten

REFINERS: dict[str, Refiner] = {
    refiner.name: refiner
    for refiner in (
        Refiner("aqe", "α-weighted expansion of both sets", "TPAMI 2019", expand_queries),
        Refiner("nfc", "neighbour feature centralisation", "arXiv 2503.00938", centralise),
        Refiner(
            "camera",
            "camera means subtracted",
            "arXiv 2306.08792",
            centre_cameras,
            needs_cameras=True,
        ),
        Refiner(
            "whiten", "within-identity whitening", "Interspeech 2006", whiten, needs_train=True
        ),
        Refiner("gcr", "graph convolution", "arXiv 2306.08792", propagate),
    )
}

__all__ = ["REFINERS", "Pair", "RefineProtocol", "Refiner", "refine_chain", "refiner_named"]


def refiner_named(name: str) -> Refiner:
    """Return a refiner; BadInput, with the list, where there is none of that name."""
    if name not in REFINERS:
        raise BadInput(f"refiner {name!r}: unknown; known are nformer, {', '.join(REFINERS)}")
    return REFINERS[name]


def refine_chain(
    names: Sequence[str],
    near: Neighbourhoods,
    *,
    protocol: RefineProtocol = "isolated",
    train: Embeddings | None = None,
    special: Mapping[str, Callable[[Pair], Pair]] | None = None,
) -> Pair:
    """Return a query and a gallery after the refiners named, left to right.

    special: refiners that need more than embeddings (NFormer, with its trained network), by name.
    Training embeddings go through the same refiners, as a gallery does, as long as a later one is
    fitted on them.

    Raises:
        BadInput: an unknown refiner, or one whose needs these embeddings do not meet.
    """
    special = special or {}
    for name in names:
        if name not in special:
            refiner_named(name)
    if names and near.one_set:  # the queries are the gallery, which refines itself
        refined = refine_chain(names, near.alone(), train=train, special=special)[1]
        return refined, refined
    for place, name in enumerate(names):
        later = [REFINERS[other] for other in names[place + 1 :] if other in REFINERS]
        pair = _refined(name, near, protocol=protocol, train=train, special=special)
        if train is not None and any(refiner.needs_train for refiner in later):
            alone = near.like(train.select(np.arange(1)), train)
            train = _refined(name, alone, protocol=protocol, train=train, special=special)[1]
        near = near.like(*pair)
    return near.query_items, near.gallery_items


def _refined(
    name: str,
    near: Neighbourhoods,
    *,
    protocol: RefineProtocol,
    train: Embeddings | None,
    special: Mapping[str, Callable[[Pair], Pair]],
) -> Pair:
    if name in special:
        return special[name]((near.query_items, near.gallery_items))
    return REFINERS[name].refine(near, protocol=protocol, train=train)
