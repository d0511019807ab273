"""Subsets have so many gallery images of an identity on average, nested, to be evaluated."""

import numpy as np
import pytest

from pipelines import Run, evaluate, load_embeddings, save_embeddings, train_nformer
from pipelines.artifacts.manifest import Manifest
from pipelines.config import NFormerConfig
from pipelines.data.subsampling import drawing_order, drawn_on_average
from pipelines.embeddings import Embeddings
from pipelines.errors import BadInput, MissingArtifact, StaleArtifact
from pipelines.labels import distractors
from pipelines.stages.subsample import subsample

PIDS = np.repeat([0, 3, 5, 9], [6, 4, 1, 7])


def split(pids):
    rows = np.arange(len(pids), dtype=np.float32)
    return Embeddings(np.stack([rows, rows + 1], axis=1), pids, rows % 3)


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    with run.writing(Manifest("embeddings.h5", "test", {}, {}, facts={"dataset": "x"})) as (
        path,
        _,
    ):
        save_embeddings(path, train=split(PIDS), query=split([3, 5, 9]), gallery=split(PIDS))
    return run


def test_each_row_has_its_place_in_its_identity():
    order = drawing_order(PIDS, 0)
    for pid in np.unique(PIDS):
        assert sorted(order[pid == PIDS]) == list(range((pid == PIDS).sum()))


@pytest.mark.parametrize("average", [2, 5, 10, 15, 20, 25])
def test_identities_have_so_many_images_on_average(average):
    counts = np.random.default_rng(0).integers(1, 60, 200)
    pids = np.repeat(np.arange(200), counts)
    kept = drawn_on_average(pids, average, seed=3)
    left = np.bincount(pids[kept], minlength=200)
    assert kept.sum() == average * 200 and left.min() >= 1
    # Identities keep the same share: nobody is cut to a bound, the large stay larger.
    share = (average * 200 - (left == 1).sum()) / counts[left > 1].sum()
    assert np.abs(left - counts * share)[left > 1].max() < 2
    assert not (kept & ~drawn_on_average(pids, average + 1, seed=3)).any()


def test_one_image_on_average_is_one_of_each():
    assert np.unique(PIDS[drawn_on_average(PIDS, 1, seed=0)], return_counts=True)[1].tolist() == [
        *(1, 1, 1, 1)
    ]


def test_a_mean_that_is_lower_already_keeps_everything():
    assert drawn_on_average(PIDS, 5, seed=0).all()


def test_subsets_are_runs_nested_in_each_other(run):
    small, large = subsample(run, [2, 5])
    assert (small.name, large.name) == ("images-per-identity-02", "images-per-identity-05")
    names = [
        set(load_embeddings(folder / "embeddings.h5", "gallery").names) for folder in (small, large)
    ]
    assert names[0] < names[1]
    assert Run(small).artifact("embeddings.h5").exists()
    assert len(load_embeddings(small / "embeddings.h5", "query")) == 3
    assert len(load_embeddings(small / "embeddings.h5", "train")) == len(PIDS)


def test_another_seed_draws_others(run):
    assert not np.array_equal(drawing_order(PIDS, 0), drawing_order(PIDS, 1))


def test_a_subset_goes_stale_with_what_it_was_drawn_from(run):
    (folder,) = subsample(run, [2])
    with run.writing(Manifest("embeddings.h5", "test", {"other": 1}, {})) as (path, _):
        save_embeddings(path, query=split([3]), gallery=split(PIDS[1:]))
    assert Run(folder).changed_inputs("embeddings.h5") == ["../embeddings.h5"]


def test_a_subset_is_evaluated_with_the_whole_runs_nformer(tmp_path):
    random = np.random.default_rng(0)
    pids = np.repeat(np.arange(1, 9), 12)
    people = random.standard_normal((9, 16))

    def seen():
        rows = people[pids] + 0.5 * random.standard_normal((len(pids), 16))
        return Embeddings(rows, pids, np.tile(np.arange(1, 4), len(pids) // 3))

    run = Run(tmp_path)
    with run.writing(Manifest("embeddings.h5", "extract", {}, {})) as (path, _):
        save_embeddings(path, train=seen(), query=seen(), gallery=seen())
    train_nformer(run, config=NFormerConfig(closed_form=False, neighbours=4, steps=2))
    (folder,) = subsample(run, [3])
    assert [row.name for row in evaluate(Run(folder)).results] == ["baseline", "nformer"]
    # the model of the whole run trained anew, the copy is stale
    train_nformer(
        run, config=NFormerConfig(closed_form=False, neighbours=5, steps=2), overwrite=True
    )
    with pytest.raises(StaleArtifact, match=r"made from another \.\./nformer\.pt"):
        evaluate(Run(folder), overwrite=True)


def test_wrong_numbers_and_missing_embeddings_are_refused(run, tmp_path):
    for numbers in ([], [0], [5, -1]):
        with pytest.raises(BadInput, match="wanted whole numbers from 1"):
            subsample(run, numbers)
    with pytest.raises(MissingArtifact, match="nformer extract"):
        subsample(Run(tmp_path / "none"), [5])


def test_person_0_is_a_distractor_only_where_no_query_is():
    assert distractors(np.array([0, 1, -1]), np.array([1])).tolist() == [True, False, False]
    assert not distractors(np.array([0, 1, -1]), np.array([0, 1])).any()
