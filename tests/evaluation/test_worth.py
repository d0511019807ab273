"""What pays: by hand, over ten queries whose average precision all move the same way, or not."""

import numpy as np
import pytest

from pipelines.artifacts.results import ResultRow
from pipelines.evaluation.scoring import Scored
from pipelines.evaluation.worth import what_pays


def scored(**rows):
    found = {}
    for name, precision in rows.items():
        name = name.replace("_", "+")
        values = np.array(precision, float)
        row = ResultRow(
            name=name, mAP=np.nanmean(values), mINP=0, rank1=0, rank5=0, rank10=0, seconds=0
        )
        found[name] = Scored(row, None, values)
    return found


def around(mean, spread=0.01):
    return mean + spread * np.array([-1, 1] * 5)


BASE = around(0.5, 0.2)


def test_a_reranking_that_lowers_a_refined_row_is_named_with_what_it_starts_from():
    said = what_pays(scored(baseline=BASE, nformer=BASE + 0.1, nformer_kr=BASE + 0.05))
    assert said == [
        "Lower mAP, by more than the error (95 %): nformer+kr -5.0 (-5.0 … -5.0) from nformer."
    ]


def test_where_everything_lowers_it_the_baseline_is_kept():
    said = what_pays(scored(baseline=BASE, nformer=BASE - 0.06, baseline_kr=BASE - 0.03))
    assert "nformer -6.0 (-6.0 … -6.0); baseline+kr -3.0 (-3.0 … -3.0)." in said[0]
    assert said[1].startswith("Keep the baseline: everything else ranks worse here.")


@pytest.mark.parametrize("change", [[0.1, -0.1] * 5, [0.0] * 10])
def test_a_change_within_the_error_is_no_reason_to_leave_the_baseline(change):
    said = what_pays(scored(baseline=BASE, nformer=BASE + np.array(change)))
    (keep,) = said
    assert keep.startswith(
        "Keep the baseline: nothing here raises its mAP by more than the error (95 %). The most: "
        "nformer +0.0 ("
    )


def test_a_clear_gain_needs_no_word_and_queries_without_a_match_do_not_count():
    gone = np.where(np.arange(10) == 0, np.nan, 1.0)
    assert what_pays(scored(baseline=BASE * gone, nformer=(BASE + 0.1) * gone)) == []
    assert what_pays(scored(baseline=BASE)) == []
