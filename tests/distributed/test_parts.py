"""Arrays in files: rows by number, finished parts that stay, damaged ones that are made again."""

import numpy as np
import pytest

from pipelines.distributed.parts import METER, Cost, Steps
from pipelines.distributed.shards import ends_of, halved, order_by_place, parts_wanted
from pipelines.distributed.workers import ThisProcess
from pipelines.progress import Silent

MADE: list[int] = []
ENDS = (2, 5, 6)


def tens(part):
    MADE.append(part)
    rows = np.arange(ENDS[part - 1] if part else 0, ENDS[part])
    return {"rows": np.stack([10 * rows, 10 * rows + 1], axis=1), "count": np.array([len(rows)])}


@pytest.fixture
def steps(tmp_path):
    return Steps(ThisProcess(), tmp_path, ENDS, Silent(), {})


def test_rows_are_read_by_their_numbers_from_any_part(steps):
    rows = steps.run(tens, "tens", gives=["rows"])["rows"]
    assert len(rows) == 6 and rows.width == 2
    assert rows.part(1).tolist() == [[20, 21], [30, 31], [40, 41]]
    before = METER.bytes
    assert rows[np.array([5, 0, 2, 5])].tolist() == [[50, 51], [0, 1], [20, 21], [50, 51]]
    assert METER.bytes - before == 4 * 2 * 8
    assert np.concatenate(list(rows))[:, 0].tolist() == [0, 10, 20, 30, 40, 50]


def test_what_is_finished_is_not_made_again(steps, tmp_path):
    MADE.clear()
    steps.run(tens, "tens", gives=["rows", "count"])
    paths = sorted((tmp_path / "tens").iterdir())
    stamps = [path.stat().st_mtime_ns for path in paths]
    assert MADE == [0, 1, 2] and len(paths) == 6
    steps.run(tens, "tens", gives=["rows", "count"])
    assert MADE == [0, 1, 2]
    next(path for path in paths if path.name.startswith("count-00001")).unlink()
    damaged = next(path for path in paths if path.name.startswith("rows-00002"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    found = steps.run(tens, "tens", gives=["rows", "count"])
    assert MADE == [0, 1, 2, 1, 2]
    assert [int(count[0]) for count in found["count"]] == [2, 3, 1]
    kept = [path for path in paths if "-00000" in path.name]
    assert [path.stat().st_mtime_ns for path in kept] == [stamps[paths.index(one)] for one in kept]


def test_costs_add_up_and_the_largest_process_counts():
    both = Cost(3_000_000_000, 1.5, 5 << 20) + Cost(1_000_000_000, 2.0, 7 << 20)
    assert both == Cost(4_000_000_000, 3.5, 7 << 20)
    assert str(both) == ("tasks read 4 GB and took 4 s of processors; the largest worker had 7 MiB")


def test_parts_by_hand():
    assert ends_of(10, 3) == (3, 6, 10)
    assert parts_wanted(10, workers=2) == 2
    assert parts_wanted(10, workers=2, asked=7) == 7
    assert parts_wanted(3, workers=2, asked=7) == 3
    assert parts_wanted(250_000, workers=2) == 3  # of at most 100,000 rows
    assert parts_wanted(0, workers=2) == 0


def test_lists_are_halved_across_the_direction_in_which_they_differ_most():
    centres = np.array([[9.0, 0], [0, 1], [8, 1], [1, 0]])  # 0 and 2 at one end, 1 and 3 at another
    order = halved(centres, sizes=np.array([1, 1, 1, 1]), lists=np.arange(4)).tolist()
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset({0, 2}), frozenset({1, 3})}


def test_rows_near_each_other_make_a_part():
    random = np.random.default_rng(0)
    ends = np.repeat([[1.0, 0], [-1.0, 0]], 200, axis=0)
    rows = (ends + 0.1 * random.normal(size=(400, 2))).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    mixed = random.permutation(400)
    order = order_by_place(rows[mixed], 2)
    assert sorted(order.tolist()) == list(range(400))
    first = rows[mixed][order][:200, 0] > 0
    assert first.all() or not first.any()
    assert order_by_place(rows, 1).tolist() == list(range(400))
