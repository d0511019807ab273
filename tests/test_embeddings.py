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
        ((ROWS, [1.5, 2, 3], [1, 1, 1]), "whole numbers; row 0 is 1.5"),
        ((ROWS, [np.nan, 2, 3], [1, 1, 1]), r"row 0 has no identity \(NaN\); -1"),
        (
            (ROWS, [1, 2e30, 3], [1, 1, 1]),
            "these are float64, in which those above 9007199254740992",
        ),
        ((ROWS, np.float32([1, 2e7, 3]), [1, 1, 1]), "float32, in which those above 16777216"),
        ((ROWS, np.float16([1, 4101, 3]), [1, 1, 1]), "float16, in which those above 2048"),
        ((ROWS, [1 + 2j, 2, 3], [1, 1, 1]), "pids must be whole numbers; these are complex128"),
        ((ROWS + 1j, [1, 2, 3], [1, 1, 1]), "must be real numbers; these are complex128"),
        ((ROWS.astype("U"), [1, 2, 3], [1, 1, 1]), "must be real numbers; these are <U"),
        ((ROWS, ["a", "1.5", "c"], [1, 1, 1]), "pids is '1.5'; a whole number or a name"),
        ((ROWS, ["a", None, "c"], [1, 1, 1]), "pids must be whole numbers; these are object"),
        (([[1, 2], [3]], [1, 2]), "embeddings are of different lengths"),
        ((ROWS, [[1], [2], [3]], [1, 1, 1]), r"pids must be \[N\]"),
        ((np.array([[1, np.nan], [1, 1], [np.inf, 1]]), [1, 2, 3], [1, 1, 1]), r"rows 0, 2"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(BadInput, match=message):
        Embeddings(*arguments)


def test_a_camera_or_a_column_that_is_nan_is_unknown():
    made = Embeddings(ROWS, [1, 2, 3], [np.nan, 2, 3], columns={"time": [5, np.nan, 7]})
    assert (made.camids.tolist(), made.columns["time"].tolist()) == ([-1, 2, 3], [5, -1, 7])


def test_a_tensor_of_doubles_keeps_its_whole_numbers():
    pids = torch.tensor([20190001.0, 20190002.0, 20190003.0], dtype=torch.float64)
    assert Embeddings(ROWS, pids, [1, 1, 1]).pids.tolist() == [20190001, 20190002, 20190003]


def test_large_finite_values_are_no_infinity():
    big = np.full((1, 8), 3e38)  # finite, though their sum is not
    assert len(Embeddings(big, [1], [1])) == 1


def test_labels_that_are_not_needed_may_be_left_out():
    made = Embeddings(ROWS)
    assert made.pids.tolist() == made.camids.tolist() == [-1, -1, -1]
    assert not made.has_cameras
    assert Embeddings(ROWS, [1, 2, 3], camids=None, names=None).names[0] == "0000000"


def test_a_name_has_the_same_number_in_every_set():
    query = Embeddings(ROWS, ["bob", "0007", "-1"], ["A", "B", ""])
    gallery = Embeddings(ROWS, np.array(["zoe", "bob", "7"]), np.array([b"B", b"A", b"A"]))
    assert query.pids[0] == gallery.pids[1] >= 2**62
    assert query.pids[1] == gallery.pids[2] == 7
    assert query.pids[2] == query.camids[2] == -1
    assert query.camids[:2].tolist() == gallery.camids[[1, 0]].tolist()


def test_columns_of_pandas_and_lists_of_tensors_are_taken():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({
        "pid": ["bob", "zoe", "bob"],
        "cam": pd.array([1, 2, 1], dtype="Int64"),
        "path": ["a.jpg", "b.jpg", "c.jpg"],
        "features": ROWS.tolist(),
    })  # fmt: skip
    made = Embeddings(table["features"], table["pid"], table["cam"], table["path"])
    rows = Embeddings(list(torch.tensor(ROWS)), ["bob", "zoe", "bob"], [1, 2, 1])
    assert made.features.tolist() == rows.features.tolist() == ROWS.tolist()
    assert made.pids.tolist() == rows.pids.tolist()
    assert made.camids.tolist() == [1, 2, 1]
    assert made.names == ["a.jpg", "b.jpg", "c.jpg"]
    frame = Embeddings(pd.DataFrame(ROWS), table["pid"].astype("category"))
    assert frame.pids.tolist() == made.pids.tolist()


def test_it_prints_in_three_lines():
    assert repr(Embeddings(ROWS, [1, 2, -1], names=["a.jpg", "b.jpg", "c.jpg"])) == (
        "Embeddings of 3 images, 2 wide\n"
        "identities: 2 (1 rows without); cameras: not known\n"
        "names: a.jpg to c.jpg"
    )
