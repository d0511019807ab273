"""Choosing the closed form: folds never see their own identities, and the choice fits the data."""

import itertools

import numpy as np
import pytest
import torch
from helpers.people import unit

from pipelines.embeddings import Embeddings
from pipelines.gallery.refinement import refine
from pipelines.nformer.on_closed_form import NFormerOnClosedForm
from pipelines.ranking.metrics import score
from pipelines.refiners.closed_form import ClosedFormSettings
from pipelines.refiners.fitting import TrainingRows, fit_closed_form
from pipelines.refiners.images_per_person import (
    as_spread,
    fitting_neighbours,
    histogram,
    images_per_person,
)
from pipelines.training.folds import choose_queries, identity_splits, make_folds
from pipelines.training.selection import Search, choose_closed_form

FORMS = [
    ClosedFormSettings(),
    ClosedFormSettings(centre="global", shrinkage=0.6, neighbours=4),
    ClosedFormSettings(
        centre="global", shrinkage=0.4, between=1.0, neighbours=3, sharpness=1.25, layers=2
    ),
    ClosedFormSettings(
        centre="global", shrinkage=0.2, neighbours=3, per_camera=True, sharpness=2.5, layers=2
    ),
    ClosedFormSettings(centre="camera"),
    ClosedFormSettings(centre="camera", shrinkage=0.3, between=0.3, neighbours=4),
    ClosedFormSettings(
        centre="camera", shrinkage=0.6, neighbours=5, per_camera=True, sharpness=2.5, layers=3
    ),
]


def people(persons, each, *, width=32, cameras=2, shift=0.0, nuisance=0.0, seed=0):
    """Make clusters, with cameras that move them and a direction that says nothing of who it is."""
    random = np.random.default_rng(seed)
    pids = np.repeat(np.arange(persons), each)
    camids = np.tile(np.arange(each) % cameras, persons)
    features = random.normal(size=(persons, width))[pids]
    features += 0.8 * random.normal(size=(len(pids), width))
    features += shift * random.normal(size=(cameras, width))[camids]
    features[:, :3] += nuisance * random.normal(size=(len(pids), 3))
    return features.astype(np.float32), pids, camids


def test_splits_keep_identities_apart():
    _, pids, camids = people(10, 6)
    splits = identity_splits(pids, camids, seed=0)
    assert len(splits) == 8  # halves twice, quarters once
    for split in splits:
        assert not set(pids[split.fit]) & set(pids[split.query | split.gallery])
        assert not (split.query & split.gallery).any()
    held_out = np.sum([split.query | split.gallery for split in splits[:2]], axis=0)
    assert (held_out == 1).all()


def test_queries_are_one_of_each_camera_that_can_spare_one():
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    camids = np.array([0, 0, 1, 1, 0, 1, 0])
    chosen = choose_queries(labels, camids, random=np.random.default_rng(0))
    assert chosen[:2].sum() == chosen[2:4].sum() == 1  # a query of each camera
    assert chosen[4:6].sum() == 1  # one or the other
    assert chosen[6]


def test_no_match_no_folds():
    _, pids, _ = people(10, 4)
    assert not identity_splits(pids, np.zeros(40, int), seed=0)  # all of one camera
    assert identity_splits(pids, np.full(40, -1), seed=0)  # cameras unknown: all count


@pytest.mark.parametrize("settings", FORMS)
@pytest.mark.parametrize("width", [16, 200])  # fewer and more numbers than rows of a fold
@pytest.mark.parametrize("cameras", ["all known", "one not in the gallery", "some unknown"])
def test_a_fold_scores_what_the_shipped_model_gives(settings, width, cameras):
    features, pids, camids = people(12, 8, width=width, cameras=3, shift=1.0)
    split = identity_splits(pids, camids, seed=0)[0]
    if cameras == "one not in the gallery":
        camids[np.flatnonzero(split.query)[:4]] = 7
        camids[np.flatnonzero(split.fit)[:9]] = 7
    if cameras == "some unknown":
        camids[::5] = -1
    fold = make_folds(TrainingRows.of(features, pids, camids), seed=0)[0]
    split = identity_splits(pids, camids, seed=0)[0]
    fit = TrainingRows.of(features[split.fit], pids[split.fit], camids[split.fit])
    model = NFormerOnClosedForm.joined(fit_closed_form(fit, settings), None, share=0.0)
    pair = [Embeddings(features[m], pids[m], camids[m]) for m in (split.query, split.gallery)]
    refined = refine(model, *pair)
    for ours, theirs in zip(fold.refined(settings), refined, strict=True):
        ours, theirs = ours.numpy(), theirs.features  # the fold's in coordinates of its own
        assert np.allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-4)
    if settings.sharpness or settings.neighbours == 1:  # two rows of one plain sum tie exactly
        assert fold.mean_ap(settings) == pytest.approx(score(*refined).mean_ap, abs=1e-4)


def test_few_images_choose_no_neighbours_and_many_choose_some():
    few = choose_closed_form(make_folds(TrainingRows.of(*people(60, 2)), seed=0))
    assert few.settings.neighbours == 1
    many = choose_closed_form(make_folds(TrainingRows.of(*people(12, 20, width=12)), seed=0))
    assert many.settings.neighbours >= 4
    assert many.gain[0] > 0 and many.mean_ap > many.baseline.mean()


def test_a_camera_shift_is_found_and_can_be_forbidden():
    folds = make_folds(TrainingRows.of(*people(24, 8, shift=2.0)), seed=0)
    assert choose_closed_form(folds).settings.centre == "camera"
    blind = choose_closed_form(folds, camera_aware="off").settings
    assert blind.centre != "camera" and not blind.uses_cameras


def test_cameras_can_be_insisted_on_and_k_given():
    folds = make_folds(TrainingRows.of(*people(16, 6)), seed=0)
    found = choose_closed_form(folds, camera_aware="on", neighbours=5).settings
    assert found.centre == "camera" and found.neighbours == 5


def test_the_choice_is_the_same_again():
    train = TrainingRows.of(*people(16, 6, nuisance=3.0))
    first, second = (choose_closed_form(make_folds(train, seed=1)) for _ in range(2))
    assert first.settings == second.settings
    assert np.array_equal(first.scores, second.scores)


def test_easy_identities_are_spread_wider():
    folds = make_folds(TrainingRows.of(*people(16, 6, width=64)), seed=0)
    search = Search(folds, camera_aware="auto")
    before = search.scores(ClosedFormSettings()).mean()
    assert before > 0.88 and search.harder(ClosedFormSettings()) > 1
    assert search.scores(ClosedFormSettings()).mean() < before
    spread = folds[0].inflated(2.0)
    assert torch.allclose(spread.query.rows.norm(dim=1), torch.ones(len(spread.query.rows)))


@pytest.mark.parametrize(("each", "rows"), [(4, 40), (12, 40), (30, 20)])
def test_images_of_a_person_are_estimated_without_labels(each, rows):
    features, pids, camids = people(20, 8, width=24)
    chosen = choose_closed_form(make_folds(TrainingRows.of(features, pids, camids), seed=0))
    model = NFormerOnClosedForm.joined(
        fit_closed_form(TrainingRows.of(features, pids, camids), chosen.settings), None, share=0.0
    )
    others = torch.nn.functional.normalize(
        torch.from_numpy(people(rows, each, width=24, seed=5)[0])
    )
    unknown = torch.full((len(others),), -1)
    standard = model.closed_form.standardise(
        others, unknown, means=model.closed_form.means(others, unknown)
    )
    found = images_per_person(standard, chosen.within, between=chosen.between)
    assert each / 1.6 < found < each * 1.6


def test_k_changes_only_for_sets_that_are_unlike():
    assert fitting_neighbours(8, chosen_for=14, found=10) == 8
    assert fitting_neighbours(8, chosen_for=14, found=28) == 8
    assert fitting_neighbours(4, chosen_for=6, found=24) == 16
    assert fitting_neighbours(16, chosen_for=20, found=5) == 4
    assert fitting_neighbours(16, chosen_for=20, found=1.2) == 1
    assert fitting_neighbours(1, chosen_for=1, found=12) == 6
    assert fitting_neighbours(1, chosen_for=6, found=24) == 1


def test_a_set_of_another_kind_says_nothing_of_its_images():
    random = np.random.default_rng(0)
    histograms = [histogram(torch.from_numpy(random.normal(*at, 4000))) for at in
                  ((0.6, 0.1), (0.0, 0.05))]  # fmt: skip
    rows = torch.nn.functional.normalize(torch.randn(300, 400))  # cosines of deviation 1/20
    assert images_per_person(rows, *histograms) == pytest.approx(1.0, abs=0.5)
    wide = torch.nn.functional.normalize(torch.randn(300, 40))  # of 1/6: three times as wide
    assert images_per_person(wide, *histograms) is None


def test_a_histogram_follows_anothers_lower_half():
    cosines = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    moved, stretch = as_spread(histogram(0.1 * cosines), histogram(0.2 * cosines + 0.1))
    assert stretch == pytest.approx(2.0, rel=0.05)
    assert torch.allclose(moved / moved.sum(), histogram(0.2 * cosines + 0.1) / 200_000, atol=5e-3)


def test_camera_means_are_kept_where_they_cost_little_unless_forbidden():
    folds = make_folds(TrainingRows.of(*people(24, 8, shift=0.5)), seed=0)
    mean = ClosedFormSettings(centre="global")
    assert Search(folds, camera_aware="auto").aware(mean, bound=0.01).centre == "camera"
    assert Search(folds, camera_aware="auto").aware(mean, bound=-1.0) == mean
    assert Search(folds, camera_aware="off").aware(mean, bound=1.0) == mean


def seen_by_two_cameras(persons, each=3, *, shift=5.0):
    """Rows e_person + shift·e_camera: what a camera adds outweighs who it is."""
    pids = np.repeat(np.arange(persons), 2 * each)
    camids = np.tile(np.arange(2 * each) % 2, persons)
    features = np.zeros((len(pids), persons + 2), np.float32)
    features[np.arange(len(pids)), pids] = 1
    features[np.arange(len(pids)), persons + camids] = shift
    return features, pids, camids


def ahead_of_two(others):
    """AP of a query whose two matches follow the two items of `others` persons in its camera."""
    return (1 / (2 * others + 1) + 2 / (2 * others + 2)) / 2


def test_camera_means_by_hand():
    folds = make_folds(TrainingRows.of(*seen_by_two_cameras(12)), seed=0)
    assert [len(fold.gallery.labels.unique()) for fold in folds] == [6] * 4 + [3] * 4
    expected = [ahead_of_two(5)] * 4 + [ahead_of_two(2)] * 4
    for centre, wanted in (("none", expected), ("global", expected), ("camera", [1.0] * 8)):
        found = [fold.mean_ap(ClosedFormSettings(centre=centre)) for fold in folds]
        assert found == pytest.approx(wanted, abs=1e-6)
    chosen = choose_closed_form(folds, camera_aware="on")
    assert chosen.settings.centre == "camera" and chosen.scores.tolist() == [1.0] * 8
    assert chosen.baseline == pytest.approx(expected, abs=1e-6)
    assert chosen.gain[0] == pytest.approx(1 - np.mean(expected), abs=1e-6)


CAMERA_FORMS = [
    ClosedFormSettings(centre="camera"),
    ClosedFormSettings(centre="camera", neighbours=4),
    ClosedFormSettings(centre="camera", neighbours=3, per_camera=True, sharpness=2.5),
]


def camera_form(fit, query, gallery, settings):
    """Write a camera form without whitening down in float64, each query in a set of its own.

    fit, query, gallery: unit rows and their cameras, of which there are two.
    A mean counts what is expected as one row more: the training's for the set, the set's for a
    camera.
    """
    rows, camids = gallery
    whole = (rows.sum(axis=0) + fit.mean(axis=0)) / (len(rows) + 1)
    means = np.stack(
        [
            (rows[camids == camera].sum(axis=0) + whole) / ((camids == camera).sum() + 1)
            for camera in (0, 1)
        ]
    )
    rows, asking = (unit(part - means[cameras]) for part, cameras in (gallery, query))
    if settings.neighbours == 1:
        return asking, rows
    alone = [
        read_mutual(
            np.concatenate([rows, row[None]]), np.append(camids, query[1][number]), settings
        )[-1]
        for number, row in enumerate(asking)
    ]
    return np.stack(alone), read_mutual(rows, camids, settings)


def read_mutual(rows, camids, settings):
    groups = camids if settings.per_camera else np.zeros_like(camids)
    similarity = rows @ rows.T
    first = similarity + 2 * np.eye(len(rows))
    listed = np.zeros(similarity.shape, bool)
    for i, group in itertools.product(range(len(rows)), np.unique(groups)):
        members = np.flatnonzero(groups == group)
        listed[i, members[np.argsort(-first[i, members])[: settings.neighbours]]] = True
    mutual = listed & listed.T & ~np.eye(len(rows), dtype=bool)
    return unit(rows + (mutual * np.exp(settings.sharpness * (similarity - 1))) @ rows)


@pytest.mark.parametrize("settings", CAMERA_FORMS)
def test_camera_forms_equal_their_definition(settings):
    features, pids, camids = people(24, 8, width=12, shift=1.5, nuisance=2.0)
    split = identity_splits(pids, camids, seed=0)[0]
    masks = (split.fit, split.query, split.gallery)
    rows = [unit(features[mask].astype(float)) for mask in masks]
    sides = [(rows[place], camids[masks[place]]) for place in (1, 2)]
    expected = camera_form(rows[0], *sides, settings)
    fit = TrainingRows.of(features[split.fit], pids[split.fit], camids[split.fit])
    model = NFormerOnClosedForm.joined(fit_closed_form(fit, settings), None, share=0.0)
    pair = [Embeddings(features[m], pids[m], camids[m]) for m in masks[1:]]
    refined = refine(model, *pair)
    for side, wanted in zip(refined, expected, strict=True):
        assert side.features == pytest.approx(wanted, abs=1e-4)
    by_hand = score(*(one.with_features(part) for one, part in zip(pair, expected, strict=True)))
    assert by_hand.mean_ap > score(*pair).mean_ap + 0.1
    fold = make_folds(TrainingRows.of(features, pids, camids), seed=0)[0]
    assert fold.mean_ap(settings) == pytest.approx(by_hand.mean_ap, abs=0.01)
