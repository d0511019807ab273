"""What a network wants of an image is applied as its authors do, on images of any size."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from pipelines.data.augment import normalise
from pipelines.data.images import fitted
from pipelines.preprocessing import Preprocessing

FILTERS = {
    "bilinear": transforms.InterpolationMode.BILINEAR,
    "bicubic": transforms.InterpolationMode.BICUBIC,
    "lanczos": transforms.InterpolationMode.LANCZOS,
    "nearest": transforms.InterpolationMode.NEAREST,
}


def picture(width=50, height=90):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def ours(image, preprocessing):
    batch = torch.from_numpy(fitted(image, preprocessing).copy()).permute(2, 0, 1)[None]
    return normalise(batch, preprocessing)[0]


@pytest.mark.parametrize("name", FILTERS)
def test_stretched_images_are_those_of_torchvision(name):
    wanted = transforms.Compose([
        transforms.Resize((64, 32), FILTERS[name]),
        transforms.ToTensor(),
        transforms.Normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)),
    ])  # fmt: skip
    given = Preprocessing(
        height=64, width=32, resize=name, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)
    )
    torch.testing.assert_close(ours(picture(), given), wanted(picture()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(50, 90), (90, 50), (37, 211)])
def test_cut_images_are_those_of_torchvision(size):
    wanted = transforms.Compose(
        [transforms.Resize(35), transforms.CenterCrop(32), transforms.ToTensor()]
    )
    given = Preprocessing(
        height=32, width=32, fit="crop", crop=32 / 35, mean=(0.0,) * 3, std=(1.0,) * 3
    )
    assert given.resized_size == (35, 35)
    torch.testing.assert_close(
        ours(picture(*size), given), wanted(picture(*size)), rtol=0, atol=1e-5
    )


def test_padded_images_keep_their_aspect_ratio_between_black():
    image = Image.new("RGB", (10, 40), (200, 100, 50))
    found = fitted(image, Preprocessing(height=80, width=80, fit="pad"))
    assert found.shape == (80, 80, 3)
    assert (found[:, 30:50] == (200, 100, 50)).all()
    assert not found[:, :29].any()
    assert not found[:, 51:].any()


def test_blue_comes_first_and_white_is_255():
    image = Image.new("RGB", (4, 4), (10, 20, 30))
    given = Preprocessing(
        height=4, width=4, channels="bgr", scale=255, mean=(1.0, 2.0, 3.0), std=(1.0, 2.0, 3.0)
    )
    assert ours(image, given)[:, 0, 0].tolist() == pytest.approx([29, 9, 7 / 3])


def test_a_table_gives_it_back():
    given = Preprocessing(height=3, fit="pad", mean=(0.1, 0.2, 0.3))
    assert Preprocessing.of(given.as_table()) == given
