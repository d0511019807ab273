"""Single-shot CMC where the draw does not matter, and its expectation where it does."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines import BadInput, Embeddings, score
from pipelines.ranking.rules import RULES


def single_shot_cmc(query, gallery, repeats=10):
    """CMC of galleries with one image of each identity, drawn for each query."""
    return score(query, gallery, rules=replace(RULES["cuhk03-single-shot"], draws=repeats)).cmc


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
    with pytest.raises(BadInput, match="skip every gallery item of their identities"):
        single_shot_cmc(query, gallery)
    assert np.isfinite(single_shot_cmc(query, Embeddings([[1, 0.5]], [7], [1]))).all()
