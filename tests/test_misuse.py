"""The library called otherwise than it wants: a sentence that says what it wants."""

from pathlib import Path

import numpy as np
import pytest

import pipelines
from pipelines import BadInput, Embeddings, NFormer, Run

ROWS = np.eye(4, dtype=np.float32)
STAGES = {  # and what else each must be given
    "train_backbone": ["folder"],
    "extract": [],
    "train_nformer": [],
    "evaluate": [],
    "import_embeddings": ["market.npz"],
    "export_embeddings": ["market.npz"],
    "index_gallery": [],
    "add_to_index": [["more"]],
    "remove_from_index": [["*.jpg"]],
    "search_images": [["who.jpg"]],
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_wants_a_run_and_no_path(stage):
    with pytest.raises(BadInput) as error:
        getattr(pipelines, stage)("runs/x", *STAGES[stage])
    assert str(error.value) == (
        f"{stage} is given a str ('runs/x'); a Run is wanted: {stage}(Run('runs/x'))"
    )


def test_a_path_is_named_as_one(tmp_path):
    with pytest.raises(BadInput, match=r"a PosixPath; a Run is wanted: evaluate\(Run\('x'\)\)"):
        pipelines.evaluate(Path("x"))
    assert repr(Run("x")) == "Run('x')"


def test_scores_want_labels():
    known = Embeddings(ROWS, [1, 2, 3, 4], [0, 0, 0, 0])
    wanted = r"an ndarray of the shape \[4, 4\]; Embeddings are wanted, features with their labels"
    with pytest.raises(BadInput, match=f"query is {wanted}"):
        pipelines.score(ROWS, ROWS)
    with pytest.raises(BadInput, match=f"gallery is {wanted}"):
        pipelines.score(known, ROWS)
    with pytest.raises(BadInput, match="scores need the pids of the query and the gallery"):
        pipelines.score(known, Embeddings(ROWS))


def test_what_is_saved_has_labels(tmp_path):
    with pytest.raises(BadInput, match="gallery is a list; Embeddings are wanted"):
        pipelines.save_embeddings(tmp_path / "e.h5", gallery=ROWS.tolist())
    assert not list(tmp_path.iterdir())


def test_the_model_stands_first():
    with pytest.raises(BadInput, match="the model is an ndarray .*; an NFormer is wanted"):
        pipelines.refine(ROWS, [1, 2, 3, 4], [0, 0, 0, 0])
    with pytest.raises(BadInput, match=r"the model is a str \('nformer.pt'\); an NFormer"):
        pipelines.refine_set("nformer.pt", ROWS)


def test_arrays_lists_and_embeddings_are_refined_and_searched_alike():
    model = NFormer(dim=4, classes=2, layers=1, heads=1, neighbours=2, landmarks=2).eval()
    known = Embeddings(ROWS + 0.1, [1, 2, 3, 4], [0, 0, 1, 1])
    both = pipelines.refine(model, known, known)
    arrays = pipelines.refine(model, known.features.tolist(), known.features)
    for items, array in zip(both, arrays, strict=True):
        assert items.features.tolist() == array.tolist()
        assert items.pids.tolist() == [1, 2, 3, 4]
    together = pipelines.refine_set(model, known)
    assert together.features.tolist() == pipelines.refine_set(model, known.features).tolist()
    for found in (
        pipelines.search(known, known, 1),
        pipelines.nearest_neighbours(known, 1),
        pipelines.search(known.features.tolist(), known.features, 1),
    ):
        assert found[1][:, 0].tolist() == [0, 1, 2, 3]


def test_metrics_print_in_three_lines():
    known = Embeddings(ROWS, ["a", "b", "c", "d"], [0, 0, 0, 0])
    found = pipelines.score(known, Embeddings(ROWS[:2], ["a", "b"], [1, 1]))
    assert repr(found) == (
        "Metrics: mAP 1.000, mINP 1.000\n"
        "rank-1 1.000, rank-5 1.000, rank-10 1.000\n"
        "2 of 4 queries have a match among 2 gallery items"
    )
