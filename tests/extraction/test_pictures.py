"""Pictures to search with."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from pipelines.errors import BadInput
from pipelines.extraction.pictures import gather
from pipelines.preprocessing import Preprocessing
from pipelines.progress import Silent


def test_all_pictures_that_cannot_be_read_are_named_at_once(tmp_path):
    for name in ("a", "b", "c"):
        Image.new("RGB", (4, 8)).save(tmp_path / f"{name}.jpg")
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "c.jpg").write_bytes(b"no picture")
    network = SimpleNamespace(
        device=torch.device("cpu"),
        preprocessing=Preprocessing(height=8, width=4),
        of_images=lambda images: images.float().mean(dim=(2, 3)),
    )
    with pytest.raises(BadInput) as error:
        gather([tmp_path], prefer="query", network=lambda use: network, progress=Silent())
    assert str(error.value) == (
        f"{tmp_path}/a.jpg: it is empty (0 bytes); {tmp_path}/c.jpg: it is no image of a known "
        "kind: replace what cannot be read, or leave it out"
    )
