"""Similarities, camera pairs and match counts, on sets small enough to see through."""

import numpy as np
import pytest

from pipelines import Embeddings
from pipelines.ranking.diagnosis import (
    camera_pairs,
    match_counts,
    neighbour_purity,
    similarities,
)

QUERY = Embeddings([[1.0, 0.0], [0.0, 1.0]], [1, 2], [1, 1])
GALLERY = Embeddings([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], [1, 1, 2, 3], [1, 2, 2, 3])


def test_pairs_of_the_own_camera_are_left_out():
    found = similarities(QUERY, GALLERY, bins=2)  # below 0, and 0 and above
    # query 1: gallery 0 is skipped, 1 is a match at 1; others at 0 and -1
    # query 2: gallery 2 is a match at 1; others at 0, 0, 0
    assert found.same.tolist() == [0, 1]
    assert found.different.tolist() == pytest.approx([1 / 5, 4 / 5])
    assert found.overlap == pytest.approx(4 / 5)


def test_perfectly_told_apart_means_no_overlap():
    gallery = Embeddings([[1.0, 0.0], [0.0, 1.0]], [1, 2], [2, 2])
    assert similarities(QUERY, gallery).overlap == 0


def test_each_pair_of_cameras_has_its_own_map():
    found = camera_pairs(QUERY, GALLERY)
    assert found.query_cameras.tolist() == [1]
    assert found.gallery_cameras.tolist() == [1, 2, 3]
    # camera 2 holds one item of each: both queries find theirs first
    assert np.isnan(found.mean_ap[0, [0, 2]]).all()
    assert found.mean_ap[0, 1] == 1


def test_match_counts_leave_the_own_camera_out():
    assert match_counts(QUERY, GALLERY).tolist() == [1, 1]


def test_purity_of_neighbours_listed_and_mutual():
    # 0 and 1 are of one person and list each other first; 2 lists 0, which lists it second
    lists = np.array([[0, 1, 2], [1, 0, 3], [2, 0, 1], [3, 2, 0]])
    found = neighbour_purity(lists, np.array([5, 5, 6, 6]))
    # k = 1: 0-1 and 1-0 right, 2-0 wrong, 3-2 right; mutual: 0-1, 1-0
    assert found.listed.tolist() == pytest.approx([3 / 4, 3 / 8])
    assert found.mutual[0] == 1
    assert found.mutuals[0] == 2 / 4
    # k = 2: mutual are 0-1, 1-0, 0-2, 2-0; 1-3, 2-1, 3-2 and 3-0 are not listed back
    assert found.mutual[1] == 2 / 4
    assert found.mutuals[1] == 4 / 4


def test_nobodys_neighbours_are_never_right():
    lists = np.array([[0, 1], [1, 0]])
    found = neighbour_purity(lists, np.array([-1, -1]))
    assert found.listed.tolist() == [0]
    assert found.mutual.tolist() == [0]


def test_purity_where_an_images_own_place_is_not_the_first():
    lists = np.array([[1, 0], [0, 1], [2, 0]])  # duplicates may stand before the row itself
    found = neighbour_purity(lists, np.array([7, 7, 8]))
    assert found.listed.tolist() == pytest.approx([2 / 3])
    assert found.mutual.tolist() == [1]
