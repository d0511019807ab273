"""The closed form: what it computes by hand, and that a query never depends on another."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from pipelines.embeddings import Embeddings
from pipelines.errors import BadInput
from pipelines.gallery.refinement import refine, refine_set
from pipelines.gallery.states import add_items, refine_gallery, refine_queries, remove_items
from pipelines.nformer.model import NFormer
from pipelines.nformer.on_closed_form import NFormerOnClosedForm, build_model
from pipelines.refiners.closed_form import ClosedForm, ClosedFormGallery, ClosedFormSettings
from pipelines.refiners.fitting import TrainingRows, fit_shift
from pipelines.refiners.mutual_neighbours import camera_graph, query_edges, read_gallery

SETTINGS = [
    {},
    {"centre": "global", "neighbours": 4},
    {"centre": "camera", "neighbours": 5, "sharpness": 2.5, "layers": 2},
    {"centre": "camera", "neighbours": 3, "per_camera": True, "layers": 3},
    {"centre": "global", "gate": True},
    {"centre": "camera", "neighbours": 5, "sharpness": 2.5, "gate": True},
]


def rows_of(count, seed, width=16):
    return normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)))


def embeddings(rows, seed=0, cameras=3):
    camids = np.random.default_rng(seed).integers(0, cameras, len(rows))
    return Embeddings(rows, np.full(len(rows), -1), camids)


def model_of(*, share=0.0, cameras=2, width=16, **settings):
    torch.manual_seed(3)
    closed_form = ClosedForm(dim=width, cameras=cameras, **settings)
    closed_form.cameras.copy_(torch.arange(cameras))
    closed_form.camera_means.normal_(std=0.1)
    closed_form.metric.normal_().add_(3 * torch.eye(width))
    if closed_form.gate is not None:  # weights that differ widely from edge to edge
        closed_form.gate.layers[0].weight.data.mul_(5)
    learned = NFormer(dim=width, classes=4, layers=2, neighbours=4, landmarks=3) if share else None
    return NFormerOnClosedForm.joined(closed_form, learned, share=share)


def test_without_settings_it_changes_nothing():
    rows = rows_of(20, 0)
    gallery = ClosedForm(dim=16).gallery(rows, torch.zeros(20, dtype=torch.int64))
    assert torch.allclose(gallery.hidden[-1], rows, atol=1e-6)


def test_mutual_sums_by_hand():
    angles = torch.tensor([0.0, 0.1, 0.3, 1.5])  # the last is nobody's nearest
    rows = torch.stack([angles.cos(), angles.sin()], dim=1)
    graph = camera_graph(rows, groups=torch.zeros(4, dtype=torch.int64), k=2)
    assert graph.kept.tolist() == [[False, True], [False, True], [False, False], [False, False]]
    read = read_gallery(rows, graph, sharpness=0.0)
    assert torch.allclose(read[0], normalize(rows[:2].sum(dim=0), dim=0))
    assert torch.allclose(read[2:], rows[2:])
    sharp = read_gallery(rows, graph, sharpness=10.0)
    weight = torch.exp(10 * (rows[0] @ rows[1] - 1))
    assert torch.allclose(sharp[0], normalize(rows[0] + weight * rows[1], dim=0))


def test_neighbours_of_each_camera_are_mutual_in_each_others_camera():
    rows, groups = rows_of(40, 1), torch.arange(40) % 3
    graph, k = camera_graph(rows, groups=groups, k=4), 4
    similarity = rows @ rows.T
    similarity.fill_diagonal_(2.0)
    listed = torch.zeros(40, 40, dtype=torch.bool)
    for camera in range(3):
        members = (groups == camera).nonzero()[:, 0]
        near = similarity[:, members].topk(k, dim=1).indices
        listed[torch.arange(40)[:, None], members[near]] = True
    wanted = listed & listed.T & ~torch.eye(40, dtype=torch.bool)
    found = torch.zeros(40, 40, dtype=torch.bool)
    found[torch.arange(40)[:, None].expand_as(graph.lists)[graph.kept], graph.lists[graph.kept]] = 1
    assert torch.equal(found, wanted)


def test_a_query_reads_what_it_would_read_inside_the_set():
    rows, groups, k = rows_of(30, 2), torch.arange(30) % 2, 3
    asking = torch.tensor([0, 1, 0])
    for number, query in enumerate(rows_of(3, 5)):
        inside = camera_graph(
            torch.cat([rows, query[None]]),
            groups=torch.cat([groups, asking[number : number + 1]]),
            k=k,
        )
        wanted = set(inside.lists[-1][inside.kept[-1]].tolist())
        near, kept = query_edges(
            query[None],
            asking[number : number + 1],
            rows=rows,
            graph=camera_graph(rows, groups=groups, k=k),
        )
        assert set(near[kept].tolist()) == wanted


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("settings", SETTINGS)
def test_queries_are_refined_as_if_each_were_alone(settings, share):
    model = model_of(share=share, **settings)
    query, gallery = embeddings(rows_of(7, 3), cameras=4), embeddings(rows_of(60, 4))
    refined, items = refine(model, query, gallery)
    for row in range(7):
        alone, same = refine(model, query.select(np.array([row])), gallery)
        assert np.array_equal(same.features, items.features)
        assert np.allclose(alone.features[0], refined.features[row], atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_joint_is_one_set(share):
    model = model_of(share=share, **SETTINGS[3])
    query, gallery = embeddings(rows_of(5, 3)), embeddings(rows_of(40, 4))
    refined = refine(model, query, gallery, protocol="joint")
    together = refine_set(
        model,
        np.concatenate([query.features, gallery.features]),
        camids=np.concatenate([query.camids, gallery.camids]),
    )
    assert np.array_equal(np.concatenate([part.features for part in refined]), together)


def test_an_unseen_camera_has_its_training_mean_moved_with_the_others():
    closed_form = ClosedForm(dim=2, cameras=2, centre="camera")
    closed_form.cameras.copy_(torch.tensor([4, 7]))
    closed_form.camera_means.copy_(torch.tensor([[0.1, 0.0], [0.0, 0.2]]))
    rows = torch.tensor([[0.5, 0.5]]).repeat(1000, 1)
    means = closed_form.means(rows, torch.full((1000,), 4))
    assert torch.allclose(means.of(torch.tensor([4]))[0].float(), rows[0], atol=1e-3)
    moved = torch.tensor([0.4, 0.7])  # (0, 0.2) + (0.5, 0.5) - (0.1, 0)
    assert torch.allclose(means.of(torch.tensor([7]))[0].float(), moved, atol=1e-3)
    assert torch.allclose(means.of(torch.tensor([9]))[0].float(), rows[0], atol=1e-3)


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_kept_gallery_is_that_of_refine(settings, share):
    model = model_of(share=share, **settings)
    query, gallery = embeddings(rows_of(6, 3)), embeddings(rows_of(50, 4))
    expected, items = refine(model, query, gallery)
    state = refine_gallery(model, gallery)
    assert np.allclose(state.refined, items.features, atol=1e-6)
    assert np.allclose(refine_queries(state, query).features, expected.features, atol=1e-6)
    part = refine_gallery(model, gallery.select(np.arange(30)), marks=state.marks)
    whole = add_items(part, gallery.select(np.arange(30, 50)))
    assert torch.equal(whole.refined, state.refined)
    assert torch.equal(remove_items(whole, np.arange(30, 50)).refined, part.refined)


def test_a_kept_gallery_survives_a_file():
    gallery = model_of(**SETTINGS[3]).start(rows_of(30, 1), torch.arange(30) % 3)
    again = ClosedFormGallery.of(gallery.tensors())
    assert all(
        torch.equal(again.tensors()[name], tensor) for name, tensor in gallery.tensors().items()
    )
    assert len(again.graphs) == 3


def test_one_gallery_item_and_unknown_cameras():
    for settings in SETTINGS:
        model = model_of(**settings)
        alone = refine_set(model, rows_of(1, 0).numpy())
        assert np.isfinite(alone).all() and np.linalg.norm(alone) == pytest.approx(1, abs=1e-5)
        assert np.isfinite(refine_set(model, rows_of(9, 0).numpy())).all()


def test_it_is_built_again_from_its_settings():
    for share in (0.0, 0.5):
        model = model_of(share=share, **SETTINGS[2])
        again = build_model(model.settings)
        again.load_state_dict(model.state_dict())
        rows = rows_of(30, 0)
        assert torch.equal(refine_set(again.eval(), rows), refine_set(model, rows))
        assert again.uses_cameras and again.neighbours == 5
    assert type(build_model({"dim": 4, "classes": 2})) is NFormer


@pytest.mark.parametrize(
    "wrong",
    [{"centre": "median"}, {"shrinkage": 0.0}, {"between": -1.0}, {"neighbours": 0}, {"layers": 0}],
)
def test_bad_settings(wrong):
    with pytest.raises(BadInput, match="closed form: "):
        ClosedFormSettings(**wrong)


def test_camera_ids_of_another_length():
    with pytest.raises(BadInput, match=r"5 embeddings but 3 camids"):
        refine_set(model_of(), rows_of(5, 0), camids=[0, 1, 2])


def shifted_model(rows, labels, **settings):
    """A model whose training rows were these, of one camera."""
    model = model_of(**settings)
    train = TrainingRows(rows, labels, torch.zeros(len(rows), dtype=torch.int64))
    model.closed_form.shift = fit_shift(train)
    return model


def same_rows(one, other):
    return np.allclose(one, other, atol=1e-6)  # of length 1 again


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_set_that_is_not_like_training_stays_as_it_is(share):
    rows, labels = rows_of(200, 8), torch.arange(200) // 2
    model = shifted_model(rows, labels, share=share, **SETTINGS[3])
    same, query = embeddings(rows_of(120, 4)), embeddings(rows_of(6, 3))
    assert not np.allclose(refine(model, query, same)[1].features, same.features, atol=1e-2)

    foreign = embeddings(normalize(rows_of(120, 4) + 3 * rows_of(1, 9)))
    assert model.closed_form.domain(torch.from_numpy(foreign.features), torch.zeros(120)).foreign
    for protocol in ("isolated", "joint"):
        refined = refine(model, query, foreign, protocol=protocol)
        assert same_rows(refined[0].features, query.features)
        assert same_rows(refined[1].features, foreign.features)
    state = refine_gallery(model, foreign)
    assert same_rows(state.refined, foreign.features)
    assert same_rows(refine_queries(state, query).features, query.features)
    kept = ClosedFormGallery.of(state.start.tensors())
    assert kept.domain == state.start.domain and kept.domain.foreign

    model.closed_form.assume = "same"
    assert not np.allclose(refine(model, query, foreign)[1].features, foreign.features, atol=1e-2)
    model.closed_form.assume = "foreign"
    assert same_rows(refine(model, query, same)[1].features, same.features)
