"""The cluster benchmark: its sets and models are the same in every process, and its rows add up."""

import numpy as np
import pytest

from pipelines.benchmarks import cluster
from pipelines.benchmarks.cluster import Case, _rows, made_up, one_process


@pytest.mark.parametrize("kind", cluster.KINDS)
def test_a_set_and_its_model_are_drawn_alike_again(kind, tmp_path):
    first, second = (made_up(str(tmp_path), rows=60, kind=kind) for _ in range(2))
    for one, other in zip(first[:2], second[:2], strict=True):
        assert one.features.tobytes() == other.features.tobytes()
        assert one.pids.tolist() == other.pids.tolist()
    states = [model.state_dict() for *_, model in (first, second)]
    assert all((states[0][name] == states[1][name]).all() for name in states[0])
    assert (len(first[0]), len(first[1])) == (20, 60)


def test_one_process_leaves_what_parts_are_compared_with(tmp_path):
    found = one_process(folder=str(tmp_path), rows=90, kind="NFormer")
    assert found["seconds"] > 0 and 0 < found["mAP"] <= 1
    assert np.load(tmp_path / "gallery.npy").shape == (90, cluster.WIDTH)


def test_a_row_says_how_much_more_parts_take(monkeypatch):
    figures = {"seconds": 30.0, "read": 2e9, "planned_read": 3e9, "peak": 5 << 20}
    figures |= {"planned_memory": 6 << 20, "apart": 1, "mAP": 0.5}
    answers = {"one_process": {"seconds": 20.0, "rss": 1234.0, "mAP": 0.5}, "in_parts": figures}
    monkeypatch.setattr(cluster, "measured", lambda module, case, **_: answers[case])
    one, four = _rows(Case(100, "NFormer", (4,)), "folder", scale=2)
    assert one == ["50 rows, NFormer", "one process", "20", "1", "–", "1,234", "–", "0.5000"]
    assert four[1:] == ["4", "30", "1.50", "2.00 (3.00)", "5 (6)", "1", "0.5000"]
