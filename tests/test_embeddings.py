"""The value object refuses what cannot be embeddings."""

import numpy as np
import pytest
import torch

from pipelines.embeddings import Embeddings
from pipelines.errors import BadInput

ROWS = np.arange(6.0).reshape(3, 2) + 1


def test_converts_and_names_rows():
    made = Embeddings(
        torch.tensor(ROWS, dtype=torch.float16), [1, 2, -1], np.array([0.0, 1.0, 1.0])
    )
    assert made.features.dtype == np.float32
    assert made.pids.dtype == made.camids.dtype == np.int64
    assert made.names == ["0000000", "0000001", "0000002"]
    assert (len(made), made.dim, made.has_cameras) == (3, 2, True)
    assert made.without_junk().pids.tolist() == [1, 2]
    assert made.select(np.array([2, 0])).features[:, 0].tolist() == [5, 1]
    assert not Embeddings(ROWS, [0, 1, 2], [-1, -1, -1]).has_cameras


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ROWS[0], [1], [1]), r"must be \[N, d\]; these have the shape \(2,\)"),
        ((ROWS, [1, 2], [1, 1, 1]), "3 embeddings but 2 pids"),
        ((ROWS, [1, 2, 3], [1, 1]), "3 embeddings but 2 camids"),
        ((ROWS, [1, 2, 3], [1, 1, 1], ["a"]), "3 embeddings but 1 names"),
        ((ROWS, [1.5, 2, 3], [1, 1, 1]), "whole numbers; row 0 is not"),
        ((ROWS, [np.nan, 2, 3], [1, 1, 1]), "whole numbers; row 0 is not"),
        (
            (ROWS, [1, 2e30, 3], [1, 1, 1]),
            "these are float64, in which those above 9007199254740992",
        ),
        ((ROWS, np.float32([1, 2e7, 3]), [1, 1, 1]), "float32, in which those above 16777216"),
        ((ROWS, np.float16([1, 4101, 3]), [1, 1, 1]), "float16, in which those above 2048"),
        ((ROWS, [1 + 2j, 2, 3], [1, 1, 1]), "pids must be whole numbers; these are complex128"),
        ((ROWS + 1j, [1, 2, 3], [1, 1, 1]), "must be real numbers; these are complex128"),
        ((ROWS.astype("U"), [1, 2, 3], [1, 1, 1]), "must be real numbers; these are <U"),
        ((ROWS, ["a", "b", "c"], [1, 1, 1]), "pids must be whole numbers"),
        ((ROWS, [[1], [2], [3]], [1, 1, 1]), r"pids must be \[N\]"),
        ((np.array([[1, np.nan], [1, 1], [np.inf, 1]]), [1, 2, 3], [1, 1, 1]), r"rows 0, 2"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(BadInput, match=message):
        Embeddings(*arguments)


def test_a_tensor_of_doubles_keeps_its_whole_numbers():
    pids = torch.tensor([20190001.0, 20190002.0, 20190003.0], dtype=torch.float64)
    assert Embeddings(ROWS, pids, [1, 1, 1]).pids.tolist() == [20190001, 20190002, 20190003]


def test_large_finite_values_are_no_infinity():
    big = np.full((1, 8), 3e38)  # finite, though their sum is not
    assert len(Embeddings(big, [1], [1])) == 1
