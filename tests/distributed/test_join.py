"""A self-join in parts gives each row's nearest, as brute force does."""

import numpy as np
import pytest
from helpers.dense import rows_of

from pipelines.distributed import join
from pipelines.distributed.join import merged, nearest_of_each
from pipelines.distributed.parts import Steps
from pipelines.distributed.workers import ThisProcess
from pipelines.neighbours import self_join_bf16
from pipelines.neighbours.candidates import NONE, tiles_between
from pipelines.progress import Silent

from .test_search import in_files, nearest


def joined(folder, rows, ends, k):
    steps = Steps(ThisProcess(), folder / "made", ends, Silent(), {})
    found = nearest_of_each(steps, in_files(folder, rows, ends), name="rows", k=k)
    assert found.ends == ends
    return np.concatenate(list(found))


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("ends", [(600,), (200, 201, 600), (90, 180, 270, 360, 450, 540, 600)])
def test_the_nearest_of_each_row(tmp_path, monkeypatch, ends, rounded):
    monkeypatch.setattr(self_join_bf16, "worth_rounding", lambda rows: rounded)
    rows = rows_of(600, 24).numpy()
    assert joined(tmp_path, rows, ends, 9).tolist() == nearest(rows, rows, 9).tolist()


def test_rows_whose_bound_is_too_strict_are_searched_again(tmp_path, monkeypatch):
    rows = rows_of(300, 16).numpy()
    monkeypatch.setattr(join, "bounds", lambda *_, **__: np.full(150, 0.999, np.float32))
    assert joined(tmp_path, rows, (150, 300), 7).tolist() == nearest(rows, rows, 7).tolist()


def test_equal_rows_stand_by_their_numbers_and_few_rows_are_all_listed(tmp_path):
    rows = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)  # four copies of each
    found = joined(tmp_path, rows, (5, 12), 20)
    assert found.shape == (12, 12)
    assert found[4].tolist() == [4, 5, 6, 7, 0, 1, 2, 3, 8, 9, 10, 11]


def test_the_best_keys_of_each_row_are_merged():
    best = np.array([[1, 5, NONE], [NONE, NONE, NONE]], np.uint64)
    keys = np.array([3, 4, 9, 2], np.uint64)
    found = merged(best, np.array([0, 0, 0, 1]), keys=keys)
    assert found.tolist() == [[1, 3, 4], [2, NONE, NONE]]


def test_each_pair_of_two_ranges_comes_in_one_tile():
    for across, down in ((slice(0, 1100), slice(0, 1100)), (slice(0, 700), slice(700, 9500))):
        times = np.zeros((9500, 9500), np.uint8)
        for some, others in tiles_between(across, down):
            times[some, others] += 1
        wanted = times[across, down]
        assert times.sum() == wanted.sum() and times.max() == 1
        assert wanted[np.triu_indices(*wanted.shape[:1], m=wanted.shape[1])].all() or down.start
        assert not down.start or wanted.all()
