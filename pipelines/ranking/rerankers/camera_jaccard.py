"""Camera-aware Jaccard re-ranking (CA-Jaccard).

Chen, Fan, Chen and Zhu, "CA-Jaccard: Camera-aware Jaccard Distance for Person Re-identification",
CVPR 2024 (arXiv 2311.10605). Items of the same camera crowd the lists out of which plain
k-reciprocal neighbours are made; so an item is described by its reciprocal neighbours inside its
own camera (short lists) together with those in the other cameras (long lists), without further
expansion, and averaged over its nearest of both kinds. Distance and mixing are those of `kr`.

Cost for N = Q + G: exact searches of all N items inside and across cameras, then as `kr`.
"""

import numpy as np

from ...neighbours.camera_lists import other_camera_lists, own_camera_lists, require_cameras
from ...neighbours.graph import Neighbourhoods
from .jaccard import (
    JaccardDistances,
    averaged,
    largest_distance,
    neighbour_weights,
    reciprocal_matrix,
)

OWN, OTHER = 5, 20  # neighbours that must list each other, in the same camera and in others (k1)
OWN_AVERAGED, OTHER_AVERAGED = 3, 3  # items of each kind that are averaged (k2), the item included
WEIGHT = 0.3  # share of the original distance (λ)


def rank_camera_jaccard(near: Neighbourhoods) -> JaccardDistances:
    """Return the camera-aware re-ranked distances, a block at a time.

    Queries take part in each other's neighbourhoods: the protocol is `joint` by definition.

    Raises:
        BadInput: an item whose camera is not known.
    """
    query, gallery = near.query_items, near.gallery_items
    require_cameras("cajaccard", query, gallery)
    camids = query.camids if near.one_set else np.concatenate([query.camids, gallery.camids])
    rows = near.joint_rows()
    inside = own_camera_lists(rows, camids, k=OWN + 1)
    across = other_camera_lists(rows, camids, k=OTHER + 1)[1]
    edges = (
        reciprocal_matrix(inside[:, : OWN + 1]) + reciprocal_matrix(across[:, : OTHER + 1])
    ).tocsr()
    graph = near.joint(1)
    assert graph.least is not None
    largest = largest_distance(graph.least)
    weights = neighbour_weights(rows, edges, largest=largest)
    nearest = np.concatenate([inside[:, :OWN_AVERAGED], across[:, :OTHER_AVERAGED]], axis=1)
    return JaccardDistances.of_set(
        rows, averaged(weights, nearest), sides=near.sides, largest=largest, weight=WEIGHT
    )
