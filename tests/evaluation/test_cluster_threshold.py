"""Held-out identities are made as hard as the rows to cluster; angles are worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.gallery_runs import GALLERY, run_with

from pipelines import Embeddings
from pipelines.clustering.names import PLAIN, REFINED
from pipelines.clustering.threshold import Chosen
from pipelines.config import ClusterConfig
from pipelines.evaluation.cluster_sources import of_run
from pipelines.evaluation.cluster_threshold import Among, Calibrated, calibrated, nearness
from pipelines.evaluation.clustering import HALVES
from pipelines.evaluation.foresee import spread_together
from pipelines.evaluation.recommend import refined_trial, trials_of
from pipelines.nformer.on_closed_form import NFormerOnClosedForm
from pipelines.progress import Silent
from pipelines.refiners.closed_form import ClosedForm

WIDTH, PEOPLE = 32, 8


def pairs(degrees, *, first=0):
    """Return two rows of each person so many degrees apart; persons are at right angles."""
    half, rows = np.radians(degrees / 2), np.zeros((2 * PEOPLE, WIDTH), np.float32)
    for person in range(PEOPLE):
        place = 2 * (first + person)
        rows[2 * person, place : place + 2] = np.cos(half), np.sin(half)
        rows[2 * person + 1, place : place + 2] = np.cos(half), -np.sin(half)
    return Embeddings(rows, np.arange(2 * PEOPLE) // 2 + 100 * first, np.arange(2 * PEOPLE) % 2)


TRAIN = pairs(10)
TRIALS = list(trials_of(TRAIN, None, manifest=None, seed=0, plan=HALVES))


def test_nearness_is_the_cosine_of_the_nearest_other_row():
    angles = np.radians([0, 10, 40])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert nearness(rows) == pytest.approx(np.cos(np.radians([10, 10, 30])), abs=1e-6)


def test_sets_are_spread_about_the_means_over_all_of_them():
    parts = [Embeddings([row], np.array([7]), np.array([0])) for row in ([2.0, 0.0], [0.0, 1.0])]
    wide = spread_together(parts, factor=2)
    # Unit rows (1, 0) and (0, 1) about (0.5, 0.5).
    assert [one.features.tolist() for one in wide] == [[[1.5, -0.5]], [[-0.5, 1.5]]]
    assert spread_together(parts, factor=1)[0] is parts[0]


@pytest.mark.parametrize(("degrees", "spread"), [(4, 1), (10, 1), (19.5, 2), (42, 4)])
def test_pairs_are_spread_until_they_are_as_far_apart_as_the_rows(degrees, spread):
    # Half an angle of 5 degrees, spread twice: tan x = 2 tan 5°, which is 9.93 degrees; spread
    # four times 19.3 degrees, the widest that is tried.
    strangers = pairs(degrees, first=PEOPLE)
    among = Among(TRIALS, strangers, config=ClusterConfig())
    assert among.spread(PLAIN, like=strangers) == spread


def test_a_threshold_fits_rows_less_alike_than_training_identities():
    rows = pairs(19.5, first=PEOPLE)
    asked = {"train": TRAIN, "rows": {PLAIN: rows}, "model": None, "config": ClusterConfig()}
    found = calibrated(TRIALS, strangers=True, **asked)
    assert found.spreads == {PLAIN: 2} and not found.worse
    assert 0.5 < found.chosen[PLAIN].threshold < np.cos(np.radians(19.5))
    assert found.chosen[PLAIN].bcubed == 1
    assert "spread 2 times as wide" in str(found)
    same = calibrated(TRIALS, strangers=False, **asked)  # the rows may be of training identities
    assert same.spreads == {PLAIN: 1} and "spread" not in str(same)
    assert same.chosen[PLAIN].threshold == pytest.approx(np.cos(np.radians(10)), abs=1e-5)


def test_refined_is_worse_where_either_figure_falls():
    plain = Chosen(0.5, "held-out identities", bcubed=0.6, pairwise=0.4)
    lower, higher = replace(plain, bcubed=0.5, pairwise=0.9), replace(plain, bcubed=0.7)
    assert Calibrated({PLAIN: plain, REFINED: lower}, {PLAIN: 1, REFINED: 1}, 1).worse
    assert not Calibrated({PLAIN: plain, REFINED: higher}, {PLAIN: 1, REFINED: 1}, 1).worse
    assert not Calibrated({PLAIN: plain}, {PLAIN: 1}, 1).worse
    assert str(Calibrated({PLAIN: plain}, {PLAIN: 1}, 1)) == (
        "held-out identities, BCubed and pairwise F: plain 60.0 and 40.0"
    )


@pytest.mark.parametrize("bad", [1.0, 2.0])
def test_refined_is_compared_at_the_spreads_of_both_kinds(monkeypatch, bad):
    spreads, figure = {PLAIN: 1.0, REFINED: 2.0}, Chosen(0.3, "held-out identities")

    def chosen(self, kind, *, spread):
        lower = kind == REFINED and spread == bad
        value = 0.5 if lower else 0.6 / spread
        return replace(figure, threshold=spread / 10, bcubed=value, pairwise=0.6)

    monkeypatch.setattr(Among, "spread", lambda self, kind, *, like: spreads[kind])
    monkeypatch.setattr(Among, "chosen", chosen)
    monkeypatch.setattr("pipelines.evaluation.cluster_threshold._neighbours_for", lambda *_: None)
    rows = pairs(10, first=PEOPLE)
    found = calibrated(
        TRIALS,
        train=TRAIN,
        rows={PLAIN: rows, REFINED: rows},
        strangers=True,
        model=with_neighbours(1),
        config=ClusterConfig(),
    )
    # 0.5 is less than 0.6 at spread 1, and more than 0.3 at spread 2: worse at the first alone.
    assert (found.compared, found.worse) == ((1.0, True) if bad == 1 else (2.0, False))
    assert found.chosen[REFINED].threshold == 0.2


def with_neighbours(k):
    form = ClosedForm(dim=WIDTH, neighbours=k)
    return NFormerOnClosedForm.joined(form, None, share=0.0)


def test_a_trial_is_refined_with_the_k_that_is_asked_for():
    one, two = (refined_trial(TRIALS[0], with_neighbours(k)) for k in (1, 2))
    asked = refined_trial(TRIALS[0], with_neighbours(1), neighbours=2)
    assert not np.allclose(one[1].features, two[1].features)
    for found, wanted in zip(asked, two, strict=True):
        assert found.features == pytest.approx(wanted.features)


def test_the_k_is_that_of_the_rows_which_were_read(monkeypatch):
    asked = []

    def fitting(self, rows):
        asked.append(len(rows))
        return 2

    monkeypatch.setattr(ClosedForm, "fitting_neighbours", fitting)
    rows = pairs(10, first=PEOPLE)
    gallery = rows.select(np.arange(6))
    kinds = {PLAIN: rows, REFINED: rows}
    took = []

    def refined(trial, model, *, neighbours):
        took.append(neighbours)
        return trial.query, trial.gallery

    monkeypatch.setattr("pipelines.evaluation.cluster_threshold.refined_trial", refined)
    options = {"train": TRAIN, "rows": kinds, "strangers": True, "config": ClusterConfig()}
    calibrated(TRIALS, gallery=gallery, model=with_neighbours(1), **options)
    assert asked == [6] and set(took) == {2}
    calibrated(TRIALS, model=with_neighbours(1), **options)
    assert asked == [6, 16]


def test_a_runs_refined_rows_read_its_gallery(tmp_path):
    run = run_with(tmp_path, GALLERY, train=False)
    source = of_run(run, refined=False, progress=Silent())
    assert source.gallery is not None and source.plain is not None
    assert (len(source.gallery), len(source.plain)) == (120, 130)
    assert source.gallery.names == GALLERY["gallery_names"].tolist()
