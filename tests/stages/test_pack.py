"""Packed images are the files' pixels, and are used only while they are."""

import shutil

import numpy as np
import pytest

from pipelines import Run, extract, load_embeddings, train_backbone
from pipelines.config import BackboneConfig, ExtractConfig, PackConfig
from pipelines.data.catalogue import open_dataset
from pipelines.data.images import ImageFiles, UnreadableImage
from pipelines.data.packed import PackedFile
from pipelines.data.synthetic.dataset import write_synthetic
from pipelines.errors import BadInput
from pipelines.files import file_digest
from pipelines.preprocessing import Preprocessing
from pipelines.stages.pack import pack

SIZE = PackConfig(height=32, width=16, workers=1)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return write_synthetic(folder, train_identities=4, test_identities=3, height=40, width=20)


@pytest.fixture
def images(tmp_path, drawn):
    return shutil.copytree(drawn, tmp_path / "images")


def train(run, images, recorder):
    config = BackboneConfig(
        arch="shufflenet_v2_x0_5", weights="none", height=32, width=16, dim=8, epochs=1, batch=8,
        instances=2, amp="off", workers=1,
    )  # fmt: skip
    return train_backbone(
        run, "synthetic", root=images, config=config, device="cpu", progress=recorder
    )


def test_packed_images_are_those_of_the_files(tmp_path, images):
    path = pack(Run(tmp_path / "run"), "synthetic", root=images, config=SIZE)
    splits = open_dataset("synthetic", images).splits
    names = [sample.name for split in splits.values() for sample in split]
    files = ImageFiles(images, names, preprocessing=Preprocessing(height=32, width=16))
    packed = PackedFile(path).images(names)
    assert (packed.height, packed.width) == (32, 16)
    for row in range(len(names)):
        assert np.array_equal(packed.read(row), files.read(row))


def test_training_and_extraction_end_the_same_with_packed_images(tmp_path, images, recorder):
    plain, packed = Run(tmp_path / "plain"), Run(tmp_path / "packed")
    pack(packed, "synthetic", root=images, config=SIZE)
    for run in (plain, packed):
        train(run, images, recorder)
        extract(run, config=ExtractConfig(amp="off"), device="cpu", progress=recorder)
    for name in ("backbone.pt", "embeddings.h5"):
        assert file_digest(plain.path(name)) == file_digest(packed.path(name))
    assert recorder.messages.count(f"images from {packed.path('images.h5')}") == 2


def test_another_size_or_list_of_files_is_told_and_the_files_are_read(tmp_path, images, recorder):
    run = Run(tmp_path / "run")
    pack(run, "synthetic", root=images, config=PackConfig(height=8, width=8))
    train(run, images, recorder)
    assert "is not used: its images are 8×8, wanted are 32×16" in recorder.warnings[0]
    pack(run, "synthetic", root=images, config=SIZE, overwrite=True)
    min((images / "query").glob("*.jpg")).unlink()
    extract(run, config=ExtractConfig(amp="off"), device="cpu", progress=recorder)
    assert "is not used: it was packed from another list of files" in recorder.warnings[1]
    assert load_embeddings(run.path("embeddings.h5"), "query")


def test_bad_images_fail_or_are_listed_and_stay_bad(tmp_path, images, recorder):
    bad = min((images / "query").glob("*.jpg"))
    bad.write_bytes(b"")
    run = Run(tmp_path / "run")
    with pytest.raises(BadInput, match="it is empty"):
        pack(run, "synthetic", root=images, config=SIZE)
    config = PackConfig(height=32, width=16, on_bad_image="skip")
    path = pack(run, "synthetic", root=images, config=config, progress=recorder)
    assert f"left out: query/{bad.name} (it is empty (0 bytes))" in recorder.warnings[0]
    with pytest.raises(UnreadableImage, match="it is empty"):
        PackedFile(path).images([f"query/{bad.name}"]).read(0)


def test_a_name_that_is_not_packed_is_named(tmp_path, images):
    path = pack(Run(tmp_path / "run"), "synthetic", root=images, config=SIZE)
    with pytest.raises(BadInput, match=r"does not hold query/new\.jpg; pack again"):
        PackedFile(path).images(["query/new.jpg"])


def test_packing_again_is_up_to_date(tmp_path, images, recorder):
    run = Run(tmp_path / "run")
    pack(run, "synthetic", root=images, config=SIZE)
    pack(run, "synthetic", root=images, config=SIZE, progress=recorder)
    assert recorder.messages == [f"{run.path('images.h5')} is up to date"]
