"""Tables for the terminal: nothing is wider than it, and no name is cut."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from nformer_cli.console import wrapped
from nformer_cli.tables import answer_table, comparison_table, fitting_table
from pipelines.artifacts.results import ResultRow
from pipelines.gallery.answers import Answer, Hit, SearchResult
from pipelines.ranking.bootstrap import Difference
from pipelines.stages.compare import Compared, Comparison


def compared(*runs):
    """Return a comparison in which each run has a mAP of 0.5 and one of 0.6."""
    rows = [
        Compared(
            run,
            ResultRow(name=name, mAP=value, mINP=0, rank1=1, rank5=1, rank10=1, seconds=0),
            Difference(value - 0.5, 0.05, 0.15),
        )
        for run in runs
        for name, value in (("baseline", 0.5), ("closed form, gate", 0.6))
    ]
    return Comparison("people", 12, tuple(rows))


def shown(table, width=80):
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue().splitlines()


def test_short_names_of_runs_stand_beside_their_results():
    lines = shown(comparison_table(compared("runs/a", "runs/b"), 80))
    assert any("run" in line and "result" in line and "mAP" in line for line in lines)
    assert [line.split("│")[1].strip() for line in lines if "│" in line] == [
        *("runs/a", "runs/a", "runs/b", "runs/b"),
    ]


@pytest.mark.parametrize("letter", ["x", "人"])
def test_letters_stand_for_names_that_fill_the_terminal(letter):
    runs = [f"runs/{letter * 30}/{name}" for name in ("one", "two")]
    lines = shown(comparison_table(compared(*runs), 80))
    assert [line.split("│")[1].strip() for line in lines if "│" in line] == ["A", "A", "B", "B"]
    assert lines[-2:] == [f"A: {runs[0]}", f"B: {runs[1]}"]
    assert max(map(cell_len, lines)) <= 80


def test_a_table_of_wide_letters_fits_by_their_columns():
    assert fitting_table("", ["name"], rows=[["人" * 20]], width=42) is not None
    assert fitting_table("", ["name"], rows=[["人" * 21]], width=42) is None


def test_lines_are_counted_in_columns_not_in_letters():
    assert wrapped("人人 人人 ab", 9) == ["人人 人人", "ab"]
    assert wrapped("a-long-word b c", 4) == ["a-long-word", "b c"]


def test_columns_of_labels_that_nobody_knows_are_left_out():
    known = Hit(1, "a/1.png", 7, -1, 0.9, 0.7, 0.25, identity="ann")
    stranger = Hit(2, "b/1.png", -1, -1, 0.5, 0.4, 0.0)
    for hits, columns in (
        ([known, stranger], ["rank", "name", "pid", "similarity"]),
        ([stranger], ["rank", "name", "similarity"]),
    ):
        answer = Answer("q.png", hits, None, None, [], 1.0)
        table = answer_table(answer, SearchResult(2, False, "", None, None, [answer]))
        assert [column.header for column in table.columns] == columns
