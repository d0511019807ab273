"""The accuracy benchmark: its sets are what they say, and its summary adds up."""

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from pipelines.artifacts.run import Run
from pipelines.benchmarks.accuracy import foreign_pairs, record_of, summary
from pipelines.benchmarks.accuracy_figures import Figures, Kept, closed_rows, in_domain
from pipelines.benchmarks.accuracy_sets import Case, given_cases
from pipelines.benchmarks.people import SETS, People, draw_people
from pipelines.benchmarks.registry import measure
from pipelines.errors import BadInput
from pipelines.ranking.metrics import score
from pipelines.stages.import_embeddings import import_embeddings

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


def test_one_case_has_every_figure_and_is_kept(tmp_path):
    case, kept = Case("small", *draw_people(SMALL, seed=0)), Kept(tmp_path)
    found = in_domain(case, kept)
    assert found.name == "small" and not found.foreign and found.seconds > 0
    assert found.baseline == pytest.approx(100 * score(case.query, case.gallery).mean_ap)
    assert found.closed >= found.baseline and found.best in closed_rows(case)
    assert found.ahead == found.default - found.closed
    with_marks = replace(found, default=12.5)
    path = kept.folder / "results" / f"{case.folder}.json"
    path.write_text(json.dumps(asdict(with_marks)))
    assert in_domain(case, Kept(tmp_path)).default == 12.5  # read, not made again


def test_rows_are_the_isolated_ones_that_train_nothing():
    rows = closed_rows(Case("small", *draw_people(SMALL, seed=0)))
    assert set(rows) == {
        *("baseline", "aqe", "nfc", "camera", "whiten", "gcr", "camera,whiten,nfc"),
        "baseline+kr-isolated",
    }


def test_cases_of_other_content_have_other_folders():
    one = Case("small", *draw_people(SMALL, seed=0))
    other = Case("small", *draw_people(SMALL, seed=1))
    assert one.folder != other.folder and one.folder.startswith("small-0-")


def test_pairs_have_one_width_and_two_worlds():
    a, b = (Case(name, *draw_people(SMALL, seed=0)) for name in "ab")
    moved = Case("a", *draw_people(SMALL, seed=1), seed=1)
    wide = Case("c", *draw_people(replace(SMALL, width=32), seed=0))
    pairs = [(one.name, two.name, two.seed) for one, two in foreign_pairs([a], [a, b, moved, wide])]
    assert pairs == [("a", "b", 0), ("a", "a", 1)]


def test_given_files_and_runs_are_sets(tmp_path):
    train, query, gallery = draw_people(SMALL, seed=0)
    arrays = {
        f"{split}_{name}": getattr(part, name)
        for split, part in (("train", train), ("query", query), ("gallery", gallery))
        for name in ("features", "pids", "camids")
    }
    for name in ("plain.npz", "trained_on_a_tested_on_b.npz"):
        np.savez(tmp_path / name, **arrays)
    files = list(given_cases([str(tmp_path)]))
    assert [(case.name, case.foreign) for case in files] == [
        ("plain", False),
        ("trained_on_a_tested_on_b", True),
    ]
    import_embeddings(Run(tmp_path / "mine"), [tmp_path / "plain.npz"])
    (of_run,) = given_cases([str(tmp_path / "mine")])
    assert of_run.name == "mine" and np.allclose(of_run.query.features, files[0].query.features)
    with pytest.raises(BadInput, match="no .npz, .h5 or embeddings.h5 in it"):
        list(given_cases([str(tmp_path / "mine" / "nothing")]))


def figures(name: str, **changed: Any) -> Figures:
    return replace(
        Figures(
            name=name, foreign=False, baseline=40.0, closed=50.0, best="gcr", default=53.0,
            advised=53.0, advice="nformer", rank1_before=60.0, rank1=61.0, rank1_error=1.0,
            shift=0.5, warned=False, images=8.0, estimated=10.0,
        ),
        **changed,
    )  # fmt: skip


def test_the_summary_adds_up():
    inside = [
        figures("one", default=54.0, advised=54.0),
        figures("two", default=49.0, rank1=58.0, warned=True),
        figures("two", default=51.0, rank1=59.5),
    ]
    outside = [
        figures("one → two", foreign=True, default=40.0, warned=True),
        figures("two → one", foreign=True, default=38.0),
    ]
    said = "".join(summary(inside, outside))
    assert "best closed form +2.0 on the average, +0.0 at the least (two)" in said
    assert "`--refine auto` less the best row +1.7 on the average, +0.0 at the least" in said
    assert "more than its error: two 60.0 to 58.0 ± 1.0 (1)" in said
    assert "where there is none: two (1)" in said
    assert "less the baseline -1.0 on the average, -2.0 at the least (two → one)" in said
    assert "estimated: 1.25 (one) to 1.25 (one) times the truth, not told on 0" in said
    assert "Not warned of: two → one (1)" in said
    rows = record_of([*inside, *outside]).rows
    assert [row[0] for row in rows] == ["one", "two", "two → one"]
    assert rows[1][2:4] == ["50.0 gcr", "50.0"]
    assert rows[1][-1] == "8, estimated 10"


@pytest.mark.parametrize("option", [{"sets": ["a"]}, {"keep": "a"}, {"seeds": 2}])
def test_some_options_belong_to_accuracy(option):
    (name,) = option
    with pytest.raises(BadInput, match=f"--{name} belongs to the benchmark accuracy"):
        measure("search", **option)
