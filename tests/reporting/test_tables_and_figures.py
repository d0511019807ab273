"""How cells of a reproduced table are shown."""

import pytest

from pipelines.reporting.tables_and_figures import Column


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("number", 1005.4, "1,010"),
        ("number", 0.005343, "0.00534"),
        ("number", 19.53, "19.5"),
        ("number", 1.0, "1"),
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
