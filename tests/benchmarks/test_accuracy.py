"""The accuracy benchmark: its sets are what they say, and its summary adds up."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.benchmarks.accuracy import CLOSED, JOINT, Case, measure_case, summary
from pipelines.benchmarks.people import SETS, People, draw_people
from pipelines.benchmarks.registry import measure
from pipelines.errors import BadInput
from pipelines.ranking.metrics import score

SMALL = People(train=12, test=10, images=6, test_images=4, width=24, cameras=3, seen_by=2)


def test_people_are_drawn_as_described():
    train, query, gallery = draw_people(SMALL, seed=0)
    assert len(train) == 12 * 6 and len(query) + len(gallery) == 10 * 4
    assert len(query) == 10 * 2  # one of each person and camera
    assert not set(train.pids) & set(gallery.pids)
    assert (train.features >= 0).all() and train.dim == 24
    again = draw_people(SMALL, seed=0)
    assert all(
        np.array_equal(one.features, other.features)
        for one, other in zip((train, query, gallery), again, strict=True)
    )
    assert not np.array_equal(train.features, draw_people(SMALL, seed=1)[0].features)


def test_layouts():
    apart = draw_people(replace(SMALL, layout="cameras", seen_by=0), seed=0)
    assert set(apart[1].camids) == {0} and set(apart[2].camids) == {1, 2}
    both = draw_people(replace(SMALL, layout="all"), seed=0)
    assert np.array_equal(both[1].features, both[2].features)


def test_people_who_differ_more_are_easier():
    easy, hard = (
        score(*draw_people(replace(SMALL, person=person), seed=0)[1:]).mean_ap
        for person in (4.0, 0.1)
    )
    assert easy > hard + 0.2


def test_every_set_can_be_scored():
    for name, people in SETS.items():
        few = replace(people, train=2, test=4)
        assert score(*draw_people(few, seed=0)[1:]).valid_queries > 0, name


def test_one_case_has_every_figure(tmp_path):
    figures = measure_case(Case("small", *draw_people(SMALL, seed=0)))
    assert set(figures) >= {*CLOSED, "closed", "kr", "k = 1", "nformer", "joint", "auto", "seconds"}
    assert {JOINT.format(name) for name in (*CLOSED, "k = 1")} < set(figures)
    assert figures["closed"] == max(figures[name] for name in CLOSED)
    assert all(0 <= value <= 100 for name, value in figures.items() if name != "seconds")


def test_the_summary_adds_up():
    rows = dict.fromkeys((*CLOSED, *map(JOINT.format, CLOSED), "closed"), 50.0) | {"draws": 0.1}
    found = {
        "one": [{**rows, "nformer": 53.0, "auto": 53.0}, {**rows, "nformer": 55.0, "auto": 55.0}],
        "two": [{**rows, "nformer": 49.0, "auto": 50.0, "draws": 0.2}],
    }
    lines = summary(found)
    assert "+1.5 mAP on the average, -1.0 at the least, over 2 sets" in lines[0]
    assert "+0.0 on the average, +0.0 at the least" in lines[1]
    assert "0.20 at the most" in lines[2]


def test_sets_belong_to_accuracy(tmp_path):
    with pytest.raises(BadInput, match="--sets belongs to the benchmark accuracy"):
        measure("search", sets=str(tmp_path))
