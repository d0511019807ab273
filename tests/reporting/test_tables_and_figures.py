"""How cells of a reproduced table are shown."""

import pytest

from pipelines.reporting.tables_and_figures import Column, TableOrFigure


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("number", 1005.4, "1,010"),
        ("number", 0.005343, "0.00534"),
        ("number", 19.53, "19.5"),
        ("number", 1.0, "1"),
        ("number", 9.28e-06, "0.00000928"),
        ("number", 4.0204e6, "4,020,000"),
        ("number", 0, "0"),
        ("number", -0.0211, "-0.0211"),
        ("points", -0.0002, "+0.0"),
        ("points", -0.0262, "-2.6"),
        ("percent", -0.0001, "0.0"),
        ("percent", 0.529, "52.9"),
        ("count", 5177.0, "5,177"),
        ("text", "", "–"),
        ("number", None, "–"),
    ],
)
def test_a_cell_has_no_exponent_and_no_minus_before_zero(kind, value, shown):
    assert Column("key", "title", kind).show(value) == shown


def table(*, paper_rows=0):
    columns = (
        *(Column("run", "run"), Column("mAP", "mAP", "percent")),
        *(Column("their_rank1", "rank-1", "percent", "paper"),
          Column("their_mAP", "mAP", "percent", "paper")),
        Column("free", "best"),
    )  # fmt: skip
    rows = ({"run": "a", "mAP": 0.5}, {"run": "paper", "their_mAP": 0.7, "their_rank1": 0.8})
    return TableOrFigure(
        name="table4", title="Table 4: sets", columns=columns, rows=rows, paper_rows=paper_rows
    )


def test_columns_stand_below_their_groups():
    assert table().groups() == [("", 2), ("paper", 2), ("", 1)]
    assert table(paper_rows=1).parts()[0].groups() == []


def test_the_papers_rows_are_a_second_table_of_the_columns_that_they_fill():
    assert table().parts() == [table()]
    ours, theirs = table(paper_rows=1).parts()
    assert list(ours.shown()) == [["a", "50.0"]]
    assert list(theirs.shown()) == [["paper", "80.0", "70.0"]]
    assert (ours.title, theirs.title) == ("Table 4: sets", "Table 4 of the paper, all rows")
