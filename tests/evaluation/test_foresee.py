"""What refinement should bring, foreseen without test labels."""

import json

import numpy as np
import pytest
from helpers.people import scattered
from typer.testing import CliRunner

from nformer_cli.app import app
from pipelines import Embeddings, MissingArtifact, Run, save_embeddings
from pipelines.artifacts.manifest import Manifest
from pipelines.evaluation.foresee import (
    Foresight,
    Gain,
    foresee,
    nearness,
    spread,
    will_it_help,
)


def people(first, count, each, seed):
    pids, random = np.repeat(np.arange(first, first + count), each), np.random.default_rng(seed)
    features = scattered(pids, width=24, noise=0.9, random=random, centres=3)
    return Embeddings(features, pids, np.arange(len(pids)) % 4)


def foresight(images, gain, error):
    return Foresight(images, gains={round(images): Gain(gain, error)})


TRAIN, QUERY = people(1, 60, 8, 1), people(100, 40, 2, 2)


@pytest.mark.parametrize("each", [2, 8, 16])
def test_images_of_a_person_are_estimated_within_a_factor_of_two(each):
    found = foresee(TRAIN, QUERY, gallery=people(100, 40, each, 3))
    assert each / 2 <= found.images <= 2 * each


def test_many_images_are_told_without_an_exponent():
    told = foresight(136.0, -0.0001, 0.001).describe()
    assert "about 140 images of each person" in told and "+0.0 ± 0.1 mAP" in told
    assert "about 6.9 images" in foresight(6.89, 0.1, 0.01).describe()
    assert "about 1 image of each person" in Foresight(1.0).describe()


def test_labels_of_the_test_set_change_nothing():
    gallery = people(100, 40, 8, 3)
    blind = Embeddings(gallery.features, np.zeros(len(gallery)), gallery.camids)
    asking = Embeddings(QUERY.features, np.zeros(len(QUERY)), QUERY.camids)
    assert foresee(TRAIN, asking, gallery=blind) == foresee(TRAIN, QUERY, gallery=gallery)


def test_it_says_when_to_expect_nothing():
    strangers = people(150, 40, 1, 4)  # nobody of the queries, nobody twice
    told = foresee(TRAIN, QUERY, gallery=strangers).describe()
    assert told.startswith("Will it help? Expect nothing of neighbours: the gallery has ")
    assert "Expect nothing" in foresight(8.0, -0.01, 0.002).describe()
    assert "Expect nothing" in foresight(8.0, 0.01, 0.011).describe()
    assert "Uncertain" in foresight(3.0, 0.05, 0.002).describe()
    assert "Expect a gain" in foresight(8.0, 0.05, 0.002).describe()
    assert "+5.0 ± 0.2 mAP" in foresight(8.0, 0.05, 0.002).describe()


def test_many_noisy_images_gain():
    found = foresee(TRAIN, QUERY, gallery=people(100, 40, 8, 3))
    (gain,) = found.gains.values()
    assert gain.mean > 2 * gain.error and list(found.gains) == [round(found.images)]
    figures = {"estimated": found.images, "foreseen": gain.mean, "whitened": found.fitted.mean}
    assert found.figures() == figures
    given = foresee(TRAIN, QUERY, gallery=people(100, 40, 8, 3), images=5.0)
    assert given.images == 5 and list(given.gains) == [5]


def test_where_the_network_knows_the_training_identities_their_number_is_not_told():
    gallery = people(100, 40, 8, 3)
    found = foresee(TRAIN, QUERY, gallery=gallery, seen=True)
    assert found.images is None and found.fitted is None
    assert list(found.gains) == [2, 4]  # training identities have 4 besides the 4 queries
    assert list(found.figures()["foreseen_by_images"]) == ["2", "4"]
    assert found.describe().startswith(
        "Will it help? How many images of each person the gallery has cannot be told: the network "
        "was trained on the training identities, so its embeddings of them are more alike than "
        "those of others. Expect "
    )


def test_a_verdict_without_the_number_of_images_says_from_how_many_on():
    gains = {2: Gain(-0.001, 0.001), 4: Gain(0.013, 0.005), 8: Gain(0.02, 0.03)}
    told = Foresight(None, "why", gains).describe()
    assert "cannot be told: why. Expect a gain from 4 images on: " in told
    assert told.endswith("-0.1 ± 0.1 mAP with 2, +1.3 ± 0.5 mAP with 4, +2.0 ± 3.0 mAP with 8.")
    assert "Expect nothing of neighbours: " in Foresight(None, "", {2: Gain(0, 0)}).describe()


def test_nothing_is_tried_for_a_gallery_of_another_kind():
    random = np.random.default_rng(5)
    other = Embeddings(random.normal(size=(200, 24)) + 4, np.arange(200) // 4, [0] * 200)
    found = foresee(TRAIN, QUERY, gallery=other)
    assert found.images is None and not found.gains and found.fitted is None
    assert "the gallery does not look like the training set (foreign (" in found.describe()


def test_gains_are_means_with_their_standard_error():
    gain = Gain.mean_of([0.01, 0.03])
    assert (gain.mean, gain.error) == pytest.approx((0.02, 0.01 / 2**0.5))
    assert str(gain) == "+2.0 ± 0.7" and gain.pays


def test_what_is_fitted_pays_without_any_neighbour():
    """Half of the directions are noise that all share: whitening finds them, neighbours do not."""
    random = np.random.default_rng(0)

    def one_a_camera(first, count, cameras):
        pids = np.repeat(np.arange(first, first + count), cameras)
        centres = np.random.default_rng(first).normal(size=(count, 16)).repeat(cameras, axis=0)
        noise = 3 * random.normal(size=(len(pids), 16))
        own = centres + 0.1 * random.normal(size=centres.shape)
        return Embeddings(np.hstack([own, noise]), pids, np.tile(np.arange(cameras), count))

    test = one_a_camera(200, 60, 2)
    query, gallery = (test.select(test.camids == camera) for camera in (0, 1))
    found = foresee(one_a_camera(1, 80, 4), query, gallery=gallery)
    assert found.images < 2 and not found.gains
    assert found.fitted.mean > 0.1
    assert f"{100 * found.fitted.mean:+.1f} ± " in found.describe()
    trained_on = foresee(one_a_camera(1, 80, 4), query, gallery=gallery, seen=True)
    assert trained_on.fitted is None and "Whitening" not in trained_on.describe()


def test_without_training_identities_nothing_is_claimed():
    assert foresee(None, QUERY, gallery=people(100, 40, 8, 3)).images is None
    told = foresee(None, QUERY, gallery=QUERY).describe()
    assert "cannot be told: there are fewer than four training identities to go by." in told


def test_single_training_images_claim_nothing():
    found = foresee(people(1, 60, 1, 1), QUERY, gallery=people(100, 40, 8, 3))
    assert (
        found.images is None
        and not found.gains
        and "no held-out training identity has a match" in found.why
    )


def test_spreading_moves_items_away_from_their_persons_mean():
    rows = np.array([[1.0, 0.0], [0.8, 0.6]])
    items = Embeddings(rows, np.array([1, 1]), np.array([0, 0]))
    wider = spread(items, {1: rows.mean(axis=0)}, factor=2.0)
    assert wider.features == pytest.approx(np.array([[1.1, -0.3], [0.7, 0.9]]), abs=1e-6)
    assert nearness(items, items) == pytest.approx(1.0)


def test_evaluate_says_it_on_stderr(tmp_path):
    run = Run(tmp_path)
    with pytest.raises(MissingArtifact):
        will_it_help(run)
    with run.writing(Manifest("embeddings.h5", "import-embeddings", {}, {})) as (path, _):
        save_embeddings(path, train=TRAIN, query=QUERY, gallery=people(100, 40, 8, 3))
    options = ["--refine", "none", "--no-report", "--will-it-help"]
    told = CliRunner().invoke(app, ["evaluate", "--run", str(tmp_path), *options])
    assert told.exit_code == 0
    assert "Will it help? Expect a gain: the gallery has about" in told.stderr
    assert "Will it help?" not in told.stdout


def test_before_training_it_is_answered_and_the_next_command_named(tmp_path):
    run = Run(tmp_path)
    wanted = Manifest("embeddings.h5", "import-embeddings", {}, {})
    with run.writing(wanted) as (path, facts):
        facts["images"] = {"train": len(TRAIN), "query": len(QUERY)}
        save_embeddings(path, train=TRAIN, query=QUERY, gallery=people(100, 40, 8, 3))
    told = CliRunner().invoke(app, ["evaluate", "--run", str(tmp_path), "--will-it-help"])
    assert told.exit_code == 0, told.output
    assert "Will it help? Expect a gain" in told.stderr
    assert f"next: nformer train-nformer --run {tmp_path}" in " ".join(told.stderr.split())
    done = CliRunner().invoke(app, ["evaluate", "--run", str(tmp_path), "--will-it-help", "--json"])
    assert 4 < json.loads(done.stdout)[str(tmp_path)]["estimated"] < 16
    asked = ["evaluate", "--run", str(tmp_path), "--will-it-help", "--rerank", "kr"]
    assert CliRunner().invoke(app, asked).exit_code == 0  # the NFormer is lacking here too


def test_where_no_nformer_can_be_trained_the_rest_is_evaluated(tmp_path):
    run = Run(tmp_path)
    with run.writing(Manifest("embeddings.h5", "import-embeddings", {}, {})) as (path, _):
        save_embeddings(path, query=QUERY, gallery=people(100, 40, 8, 3))
    options = ["--will-it-help", "--no-report", "--json"]
    done = CliRunner().invoke(app, ["evaluate", "--run", str(tmp_path), *options])
    assert done.exit_code == 0, done.output
    assert (
        "Will it help? How many images of each person the gallery has cannot be told" in done.stderr
    )
    assert len(json.loads(done.stdout)["results"]) > 3
