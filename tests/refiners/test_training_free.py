"""refine_training_free: the refiners of the evaluation, on arrays."""

import numpy as np
import pytest
import torch

from pipelines import Embeddings, refine_training_free
from pipelines.errors import BadInput
from pipelines.neighbours.graph import Neighbourhoods
from pipelines.refiners.chain import refine_chain

RANDOM = np.random.default_rng(0)
QUERY = RANDOM.normal(size=(4, 8)).astype(np.float32)
GALLERY = RANDOM.normal(size=(30, 8)).astype(np.float32)
CAMERAS = (np.arange(4) % 2, np.arange(30) % 2)
PIDS = np.arange(30) // 3


def items():
    return Embeddings(QUERY, np.arange(4), CAMERAS[0]), Embeddings(GALLERY, PIDS, CAMERAS[1])


@pytest.mark.parametrize("method", ["aqe", "nfc", "gcr", "camera,nfc", "whiten"])
def test_it_is_what_the_evaluation_does(method):
    query, gallery = items()
    expected = refine_chain(method.split(","), Neighbourhoods(query, gallery), train=gallery)
    found = refine_training_free(
        QUERY,
        GALLERY,
        method=method,
        query_camids=CAMERAS[0],
        gallery_camids=CAMERAS[1],
        train=(GALLERY, PIDS),
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert isinstance(ours, np.ndarray)
        assert ours.tolist() == theirs.features.tolist()
        assert ours.shape == theirs.features.shape


def test_items_leave_as_they_came():
    arrays = refine_training_free(QUERY, GALLERY)
    tensors = refine_training_free(torch.from_numpy(QUERY), torch.from_numpy(GALLERY))
    embeddings = refine_training_free(*items())
    for array, tensor, item in zip(arrays, tensors, embeddings, strict=True):
        assert isinstance(tensor, torch.Tensor)
        assert tensor.tolist() == array.tolist() == item.features.tolist()
    assert embeddings[1].pids.tolist() == PIDS.tolist()
    assert not np.allclose(arrays[1], GALLERY)


def test_refusals():
    with pytest.raises(BadInput, match="'fast': unknown; known are nformer, aqe, nfc"):
        refine_training_free(QUERY, GALLERY, method="fast")
    with pytest.raises(BadInput, match="camera"):
        refine_training_free(QUERY, GALLERY, method="camera")
    with pytest.raises(BadInput, match="train"):
        refine_training_free(QUERY, GALLERY, method="whiten")
    with pytest.raises(BadInput, match="8 wide, the gallery's 7; one network makes one width"):
        refine_training_free(QUERY, GALLERY[:, :7])
