"""Neighbours of rows in parts: exact, of one camera, and by lists, against brute force."""

import numpy as np
import pytest
from helpers.dense import rows_of

from pipelines.distributed import search
from pipelines.distributed.parts import Parts, Steps
from pipelines.distributed.search import Columns, searchable
from pipelines.distributed.workers import ThisProcess
from pipelines.progress import Silent


def in_files(folder, array, ends):
    paths, start = [], 0
    for number, end in enumerate(ends):
        paths.append(folder / f"{len(array)}-{array.ndim}-{number}.npy")
        np.save(paths[-1], array[start:end])
        start = end
    return Parts(tuple(paths), tuple(ends))


def nearest(own, rows, k):
    return np.argsort(-(own.astype(np.float64) @ rows.T), axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("piece", [7, 1000])
def test_the_nearest_of_all_and_of_some(tmp_path, monkeypatch, piece):
    monkeypatch.setattr(search, "PIECE", piece)
    rows = rows_of(90, 8).numpy()
    parts = in_files(tmp_path, rows, (20, 21, 90))
    columns = Columns(parts)
    assert columns.nearest(rows[5:9], 6).tolist() == nearest(rows[5:9], rows, 6).tolist()
    some = np.array([3, 19, 20, 22, 60, 61, 89])
    of_camera = Columns(parts, in_files(tmp_path, some, (7,)))
    assert len(of_camera) == 7
    expected = some[nearest(rows[5:9], rows[some], 4)]
    assert of_camera.nearest(rows[5:9], 4).tolist() == expected.tolist()
    assert of_camera.nearest(rows[5:9], 20).shape == (4, 7)  # all that there are
    assert of_camera.within(2).tolist() == rows[[22, 60, 61, 89]].tolist()


def test_equal_rows_stand_by_their_numbers(tmp_path):
    rows = np.repeat(rows_of(3, 8).numpy(), 4, axis=0)  # four copies of each
    found = Columns(in_files(tmp_path, rows, (5, 12))).nearest(rows[4:5], 4)
    assert found.tolist() == [[4, 5, 6, 7]]


@pytest.mark.parametrize("every", [1, 3])
def test_lists_find_nearly_all(tmp_path, every):
    rows = rows_of(6000, 16).numpy()
    parts = in_files(tmp_path, rows, (2000, 6000))
    some = np.arange(0, 6000, every)
    members = in_files(tmp_path, some, (len(some),)) if every > 1 else None
    steps = Steps(ThisProcess(), tmp_path / "lists", parts.ends, Silent(), {})
    columns = searchable(
        steps, Columns(parts, members), name="made-up", k=10, asking=300, method="ivf"
    )
    assert columns.lists is not None
    found, true = columns.nearest(rows[:300], 10), some[nearest(rows[:300], rows[some], 10)]
    recall = np.mean([len(np.intersect1d(*pair)) / 10 for pair in zip(found, true, strict=True)])
    assert recall > 0.85  # 0.93 of a sample's neighbours are in the lists looked through
    assert len(columns.lists.of_each()) < 400
    assert sorted(np.concatenate(columns.lists.of_each())) == list(range(len(some)))
    again = searchable(
        steps, Columns(parts, members), name="made-up", k=10, asking=300, method="exact"
    )
    assert again.lists is None
