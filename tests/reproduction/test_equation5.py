"""Under which conditions Ã is like A (Eq. 5), against matrices written out."""

import numpy as np
import pytest
import torch

from pipelines.nformer.model import NFormer
from pipelines.reproduction.equation5 import (
    mean_cosine,
    random_projection,
    whitening,
    with_offset,
    without_bias,
)
from pipelines.reproduction.likeness import projected_similarity

ROWS, DIM = 40, 6


def unit_rows(dim=DIM):
    rows = np.random.default_rng(0).standard_normal((ROWS, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def written_out(query, key, centred):
    """cos(vec A, vec Ã) with every row a landmark, by N×N matrices."""
    exact = query @ key.T
    rough = (query @ key.T) @ (key @ query.T).T
    if centred:
        exact, rough = exact - exact.mean(), rough - rough.mean()
    return float((exact * rough).sum() / (exact.norm() * rough.norm()))


def test_with_every_row_a_landmark_the_cosine_is_that_of_the_matrices():
    rows = torch.from_numpy(unit_rows()).double()
    query, key = (rows @ random_projection(DIM, 4, seed=seed).double().T + 0.2 for seed in (1, 2))
    plain, centred = projected_similarity(query, key, counts=[ROWS], draws=3)[ROWS]
    assert plain == pytest.approx(written_out(query, key, False), abs=1e-9)
    assert centred == pytest.approx(written_out(query, key, True), abs=1e-9)


def test_a_whitening_projection_makes_the_two_alike():
    rows = torch.from_numpy(unit_rows() * np.array([5, 3, 1, 1, 1, 0.5], np.float32))
    white = rows @ whitening(rows).T
    assert torch.allclose(white.T @ white / ROWS, torch.eye(DIM), atol=1e-4)
    similar = projected_similarity(white, white, counts=[2, ROWS], draws=5)
    assert similar[ROWS][0] == pytest.approx(1.0, abs=1e-4)
    assert similar[2][0] < 0.9  # but not with few landmarks


def test_an_offset_alone_makes_them_alike_and_centring_undoes_it():
    rows = unit_rows(60)
    centred = rows - rows.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    given = with_offset(centred, 0.8)
    assert mean_cosine(given) == pytest.approx(0.8, abs=0.02)
    plain, apart = projected_similarity(*[torch.from_numpy(given)] * 2, counts=[1], draws=5)[1]
    assert plain > 0.9
    assert apart < plain - 0.1


def test_biases_are_set_to_zero_in_every_layer():
    model = NFormer(dim=8, classes=3, layers=2, heads=2, neighbours=2)
    for block in model.layers():
        torch.nn.init.ones_(block.attention.query.bias)
    changed = without_bias(model)
    assert [
        float(block.attention.query.bias.detach().abs().sum()) for block in changed.layers()
    ] == [0, 0]
