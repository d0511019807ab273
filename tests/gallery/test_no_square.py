"""Nothing of size N×N is made: the largest tensor grows as N does, in training and inference."""

import pytest
import torch
from helpers.dense import CHOICES, rows_of
from torch.utils._python_dispatch import TorchDispatchMode

from pipelines.gallery.refinement import refine_set
from pipelines.nformer.model import NFormer
from pipelines.training.losses import triplet_loss


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation returned."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple | list) else (result,):
            if isinstance(part, torch.Tensor):
                self.elements = max(self.elements, part.numel())
        return result


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    for name in (
        "neighbours.reciprocity.BLOCK_COMPARISONS",
        "nformer.attention.BLOCK_LOGITS",
        "training.losses.BLOCK_DISTANCES",
    ):
        monkeypatch.setattr(f"pipelines.{name}", 1 << 12)
    monkeypatch.setattr("pipelines.neighbours.exact.BLOCK_BYTES", 4 << 12)  # as many similarities


def trained(model, rows):
    with Largest() as seen:
        logits, features = model.train()(rows)
        loss = logits.sum() + triplet_loss(features, torch.arange(len(rows)) // 4)
        loss.backward()
    return seen.elements


def refined(model, rows):
    with Largest() as seen:
        refine_set(model, rows)
    return seen.elements


@pytest.mark.parametrize("graph,mask,affinity", CHOICES)
def test_the_largest_tensor_grows_as_the_set_does(graph, mask, affinity):
    model = NFormer(
        dim=8, classes=2, layers=1, neighbours=6, graph=graph, mask=mask, affinity=affinity
    )
    for measure in (trained, refined):
        small, large = (measure(model, rows_of(count, 8)) for count in (500, 2000))
        assert large < 5 * small
        assert large < 2000 * 100
