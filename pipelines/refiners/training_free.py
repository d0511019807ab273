"""Refiners that train no network, on arrays: one call."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..embeddings import Embeddings
from ..neighbours.checked import like
from ..neighbours.graph import Neighbourhoods
from .chain import RefineProtocol, refine_chain


def refine_training_free(
    query: Any,
    gallery: Any,
    *,
    method: str | Sequence[str] = "nfc",
    query_camids: Any = None,
    gallery_camids: Any = None,
    train: Any = None,
    protocol: RefineProtocol = "isolated",
) -> tuple[Any, Any]:
    """Return a query [Q, d] and a gallery [G, d] refined by their neighbours, nothing trained.

    query, gallery: numpy, torch or Embeddings; what comes back is of the same kind, tensors on the
                    device that they came from.
    method:   "aqe", "nfc", "camera", "whiten", "gcr", or several, left to right: "camera,nfc".
    camids:   [Q] and [G], for those that use cameras; Embeddings have their own.
    train:    Embeddings, or (features [N, d], pids [N]), for "whiten", which is fitted on them.
    protocol: "isolated", each query refined as if it were the only one, or "joint".

    Raises:
        BadInput: an unknown method, one whose needs are not met, widths that differ, NaN rows.
    """
    names = method.split(",") if isinstance(method, str) else list(method)
    near = Neighbourhoods(
        as_embeddings(query, query_camids), as_embeddings(gallery, gallery_camids)
    )
    fitted = train if train is None or isinstance(train, Embeddings) else Embeddings(*train)
    refined = refine_chain([name.strip() for name in names], near, protocol=protocol, train=fitted)
    return as_given(query, refined[0]), as_given(gallery, refined[1])


def as_embeddings(items: Any, camids: Any) -> Embeddings:
    """Return Embeddings as they are, unless cameras are given, and arrays with those given."""
    if isinstance(items, Embeddings):
        return items if camids is None else replace(items, camids=camids)
    return Embeddings(items, camids=camids)


def as_given(given: Any, refined: Embeddings) -> Any:
    """Return refined embeddings as what `given` is: Embeddings, numpy, or a tensor where it was."""
    return refined if isinstance(given, Embeddings) else like(given, refined.features)
