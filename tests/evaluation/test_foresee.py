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
    _some_people,
    foresee,
    nearness,
    spread,
    will_it_help,
)


def people(first, count, each, seed):
    pids, random = np.repeat(np.arange(first, first + count), each), np.random.default_rng(seed)
    features = scattered(pids, width=24, noise=0.9, random=random, centres=3)
    return Embeddings(features, pids, np.arange(len(pids)) % 4)


TRAIN, QUERY = people(1, 60, 8, 1), people(100, 40, 2, 2)


@pytest.mark.parametrize("each", [2, 8, 16])
def test_images_of_a_person_are_estimated_within_a_factor_of_two(each):
    found = foresee(TRAIN, QUERY, gallery=people(100, 40, each, 3))
    assert each / 2 <= found.images <= 2 * each


def test_many_images_are_told_without_an_exponent():
    told = Foresight(images=136.0, gain=-0.0001, error=0.001).describe()
    assert "about 140 images of each person" in told and "+0.0 ± 0.1 mAP" in told
    assert "about 6.9 images" in Foresight(6.89, gain=0.1, error=0.01).describe()


def test_labels_of_the_test_set_change_nothing():
    gallery = people(100, 40, 8, 3)
    blind = Embeddings(gallery.features, np.zeros(len(gallery)), gallery.camids)
    asking = Embeddings(QUERY.features, np.zeros(len(QUERY)), QUERY.camids)
    assert foresee(TRAIN, asking, gallery=blind) == foresee(TRAIN, QUERY, gallery=gallery)


def test_it_says_when_to_expect_nothing():
    strangers = people(150, 40, 1, 4)  # nobody of the queries, nobody twice
    told = foresee(TRAIN, QUERY, gallery=strangers).describe()
    assert told.startswith("Will it help? Expect nothing of neighbours: the gallery has ")
    assert "has at most one image of each person" in Foresight(2.8e-39).describe()
    assert "Expect nothing" in Foresight(8.0, -0.01, 0.002).describe()
    assert "Uncertain" in Foresight(3.0, 0.05, 0.002).describe()
    assert "Expect a gain" in Foresight(8.0, 0.05, 0.002).describe()
    assert "+5.0 ± 0.2 mAP" in Foresight(8.0, 0.05, 0.002).describe()


def test_many_noisy_images_gain():
    found = foresee(TRAIN, QUERY, gallery=people(100, 40, 8, 3))
    assert found.gain > 2 * found.error
    figures = {"estimated": found.images, "foreseen": found.gain, "whitened": found.fitted}
    assert found.figures() == figures


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
    assert found.images < 2 and found.gain is None
    assert found.fitted > 0.1
    assert f"{100 * found.fitted:+.1f} ± " in found.describe()
    trained_on = foresee(one_a_camera(1, 80, 4), query, gallery=gallery, seen=True)
    assert trained_on.fitted is None and "Whitening" not in trained_on.describe()


def test_without_training_identities_nothing_is_claimed():
    assert foresee(None, QUERY, gallery=people(100, 40, 8, 3)).images is None
    assert "Not known" in Foresight(None).describe()


def test_single_training_images_claim_nothing():
    assert foresee(people(1, 60, 1, 1), QUERY, gallery=people(100, 40, 8, 3)).images is None


def test_a_sample_of_many_training_identities_has_pairs_of_one_person():
    random = np.random.default_rng(0)
    many = Embeddings(
        random.normal(size=(60_000, 2)), np.repeat(np.arange(10_000), 6), [0] * 60_000
    )
    people_drawn = _some_people(many, 0)
    assert len(people_drawn) == 1500
    assert set(np.unique(people_drawn.pids, return_counts=True)[1]) == {6}
    two = Embeddings(random.normal(size=(4000, 2)), np.arange(4000) % 2, [0] * 4000)
    assert len(_some_people(two, 0)) == 1500


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
    assert "Will it help? Not known" in done.stderr
    assert len(json.loads(done.stdout)["results"]) > 3
