"""Losses against the released code's values and gradients, and by hand."""

import math

import numpy as np
import pytest
import torch

from pipelines.training.losses import CenterLoss, hardest_distances, identity_loss, triplet_loss


@pytest.fixture
def golden(shared):
    with np.load(shared("golden/losses.npz")) as file:
        return {name: torch.from_numpy(np.atleast_1d(file[name])) for name in file.files}


def close(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(
        actual.detach().float().reshape(expected.shape),
        expected.float(),
        rtol=tolerance,
        atol=tolerance,
    )


def test_identity_loss_equals_the_released_code(golden):
    logits = golden["logits"].requires_grad_()
    loss = identity_loss(logits, golden["labels"], smoothing=0.1)
    loss.backward()
    close(loss, golden["xent_loss"])
    close(logits.grad, golden["xent_grad"])


@pytest.mark.parametrize(
    "case, margin, normalised", [("m03", 0.3, False), ("soft", None, False), ("m03norm", 0.3, True)]
)
def test_triplet_loss_equals_the_released_code(golden, case, margin, normalised):
    features = golden["feat"].requires_grad_()
    loss = triplet_loss(features, golden["labels"], margin=margin, normalised=normalised)
    loss.backward()
    close(loss, golden[f"triplet_{case}_loss"])
    close(features.grad, golden[f"triplet_{case}_grad"])


def test_hardest_distances_equal_the_released_code(golden):
    positive, negative = hardest_distances(golden["feat"], golden["labels"])
    labels = golden["labels"]
    paired = (labels[:, None] == labels).sum(dim=1) > 1  # alone, theirs is the rounding of 0
    close(positive[paired], golden["triplet_m03_ap"][paired])
    assert positive[~paired].max() < 1e-5 and golden["triplet_m03_ap"][~paired].max() < 1e-2
    close(negative, golden["triplet_m03_an"])


def test_a_large_batch_goes_in_blocks(golden, monkeypatch):
    whole = hardest_distances(golden["feat"], golden["labels"])
    monkeypatch.setattr("pipelines.training.losses.BLOCK_DISTANCES", 7 * len(golden["feat"]))
    for blocked, expected in zip(
        hardest_distances(golden["feat"], golden["labels"]), whole, strict=True
    ):
        close(blocked, expected)


def test_center_loss_equals_the_released_code(golden):
    classes, dim = golden["centers"].shape
    center = CenterLoss(classes, dim)
    center.load_state_dict({"centers": golden["centers"]})
    features = golden["feat"].requires_grad_()
    loss = center(features, golden["labels"])
    loss.backward()
    close(loss, golden["center_loss"])
    close(features.grad, golden["center_grad_feat"])
    close(center.centers.grad, golden["center_grad_centers"])


def test_centers_gradient_loses_the_weight_of_its_loss():
    center = CenterLoss(2, 1)
    center.load_state_dict({"centers": torch.tensor([[0.0], [5.0]])})
    (0.0005 * center(torch.tensor([[3.0]]), torch.tensor([0]))).backward()
    center.unweighted_gradient(0.0005)
    close(center.centers.grad, torch.tensor([[-6.0], [0.0]]))  # 2 (c - x) for its own center


def test_triplet_loss_by_hand():
    # On a line: 0 and 1 are one person, 3 and 7 another.
    features, labels = torch.tensor([[0.0], [1.0], [3.0], [7.0]]), torch.tensor([0, 0, 1, 1])
    positive, negative = hardest_distances(features, labels)
    assert positive.tolist() == [1, 1, 4, 4]
    assert negative.tolist() == [3, 2, 2, 6]
    assert triplet_loss(features, labels, margin=0.5).item() == pytest.approx((0 + 0 + 2.5 + 0) / 4)


def test_equal_embeddings_have_a_finite_gradient():
    features = torch.ones(4, 3, requires_grad=True)
    triplet_loss(features, torch.tensor([0, 0, 1, 1])).backward()
    assert torch.isfinite(features.grad).all()


def test_one_identity_alone_costs_nothing_and_stays_finite():
    features = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = triplet_loss(features, torch.tensor([4, 4, 4]))
    loss.backward()
    assert loss.item() == 0 and torch.isfinite(features.grad).all()


def test_identity_loss_without_smoothing_by_hand():
    loss = identity_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    assert loss.item() == pytest.approx(math.log(2))
