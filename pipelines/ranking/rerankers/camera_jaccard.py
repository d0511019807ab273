"""Camera-aware Jaccard re-ranking (CA-Jaccard).

Chen, Fan, Chen and Zhu, "CA-Jaccard: Camera-aware Jaccard Distance for Person Re-identification",
CVPR 2024 (arXiv 2311.10605). Items of the same camera crowd the lists out of which plain
k-reciprocal neighbours are made; so an item is described by its reciprocal neighbours inside its
own camera (short lists) together with those in the other cameras (long lists), without further
expansion, and averaged over its nearest of both kinds. Distance and mixing are those of `kr`.

Cost for N = Q + G: exact searches of all N items inside and across cameras, then as `kr`.
"""

import numpy as np

from ...errors import BadInput
from ...neighbours.camera_lists import other_camera_lists, own_camera_lists, require_cameras
from ...neighbours.graph import Neighbourhoods
from .jaccard import (
    JaccardDistances,
    averaged,
    largest_distance,
    neighbour_weights,
    reciprocal_matrix,
)


def rank_camera_jaccard(
    near: Neighbourhoods,
    *,
    own: int = 5,
    other: int = 20,
    own_averaged: int = 3,
    other_averaged: int = 3,
    weight: float = 0.3,
) -> JaccardDistances:
    """Return the camera-aware re-ranked distances, a block at a time.

    own, other: neighbours that must list each other in the same and in other cameras (k1).
    own_averaged, other_averaged: items of each kind that are averaged (k2), the item itself
        being the first of its own camera.
    weight: share of the original distance (λ).

    Queries take part in each other's neighbourhoods: the protocol is `joint` by definition.

    Raises:
        BadInput: an item whose camera is not known, settings out of range.
    """
    if min(own, other, own_averaged, other_averaged) < 1 or not 0 <= weight <= 1:
        raise BadInput("cajaccard: every k must be at least 1 and the weight from 0 to 1")
    query, gallery = near.query_items, near.gallery_items
    require_cameras("cajaccard", query, gallery)
    rows, camids = near.joint_rows(), np.concatenate([query.camids, gallery.camids])
    inside = own_camera_lists(rows, camids, k=max(own + 1, own_averaged))
    across = other_camera_lists(rows, camids, k=max(other + 1, other_averaged))[1]
    edges = (
        reciprocal_matrix(inside[:, : own + 1]) + reciprocal_matrix(across[:, : other + 1])
    ).tocsr()
    graph = near.joint(1)
    assert graph.least is not None
    largest = largest_distance(graph.least)
    weights = neighbour_weights(rows, edges, largest=largest)
    nearest = np.concatenate([inside[:, :own_averaged], across[:, :other_averaged]], axis=1)
    return JaccardDistances.of_set(
        rows, averaged(weights, nearest), queries=len(query), largest=largest, weight=weight
    )
