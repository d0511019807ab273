"""Single-shot CMC where the draw does not matter, and its expectation where it does."""

import numpy as np
import pytest

from pipelines import BadInput, Embeddings
from pipelines.ranking.single_shot import single_shot_cmc


def test_one_image_an_identity_leaves_nothing_to_draw():
    query = Embeddings([[1.0, 0.0]], [7], [0])
    gallery = Embeddings([[0.9, 0.1], [1.0, 0.0], [0.5, 0.5]], [7, 8, 9], [1, 1, 1])
    assert single_shot_cmc(query, gallery).tolist() == [0, 1, 1]


def test_the_expected_share_of_draws_is_found():
    # Person 7 has a near and a far image, person 8 one between: half of the draws are right.
    query = Embeddings([[1.0, 0.0]], [7], [0])
    gallery = Embeddings([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [7, 7, 8], [1, 1, 1])
    cmc = single_shot_cmc(query, gallery, repeats=4000)
    assert cmc[0] == pytest.approx(0.5, abs=0.04)
    assert cmc[1] == 1
    assert (cmc == single_shot_cmc(query, gallery, repeats=4000)).all()


def test_own_camera_is_skipped_and_no_match_is_said():
    query = Embeddings([[1.0, 0.0]], [7], [0])
    gallery = Embeddings([[1.0, 0.0], [0.9, 0.1]], [7, 8], [0, 0])
    with pytest.raises(BadInput, match="of the query's own camera"):
        single_shot_cmc(query, gallery)
    with pytest.raises(BadInput, match="single_shot is 0"):
        single_shot_cmc(query, query, repeats=0)
    assert np.isfinite(single_shot_cmc(query, Embeddings([[1, 0.5]], [7], [1]))).all()
