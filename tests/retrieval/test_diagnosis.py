"""Similarities, camera pairs and match counts, on sets small enough to see through."""

import numpy as np
import pytest

from pipelines import Embeddings
from pipelines.retrieval.diagnosis import camera_pairs, match_counts, similarities

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
