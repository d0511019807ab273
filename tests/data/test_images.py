"""Every kind of image file becomes upright 8-bit RGB, or an error with a reason."""

import os
import socket

import numpy as np
import pytest
from PIL import Image

from pipelines.data import images
from pipelines.data.images import GUESS, ImageFiles, UnreadableImage, read_image, read_item
from pipelines.preprocessing import Preprocessing


def save(path, pixels, mode=None, **options):
    Image.fromarray(np.asarray(pixels), mode).save(path, **options)
    return path


def pixels_of(path):
    return np.asarray(read_image(path))


def test_a_grey_image_becomes_three_equal_channels(tmp_path):
    path = save(tmp_path / "grey.png", np.uint8([[0, 128, 255]]))
    assert pixels_of(path).tolist() == [[[0] * 3, [128] * 3, [255] * 3]]


def test_a_16_bit_image_keeps_its_high_byte(tmp_path):
    path = save(tmp_path / "deep.png", np.uint16([[0, 257 * 128, 65535]]))
    assert pixels_of(path)[..., 0].tolist() == [[0, 128, 255]]


def test_a_cmyk_image_becomes_rgb(tmp_path):
    Image.new("CMYK", (2, 2), (0, 0, 0, 0)).save(tmp_path / "print.jpg")
    assert (pixels_of(tmp_path / "print.jpg") == 255).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1"])
def test_alpha_palette_and_bilevel_become_rgb(tmp_path, mode):
    Image.new("RGB", (2, 3), (255, 255, 255)).convert(mode).save(tmp_path / "image.png")
    assert pixels_of(tmp_path / "image.png").tolist() == [[[255] * 3] * 2] * 3


def test_a_palette_with_transparency_becomes_rgb(tmp_path):
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.save(tmp_path / "image.png", transparency=b"\x00\xff")
    assert pixels_of(tmp_path / "image.png")[0, 0].tolist() == [10, 20, 30]


def test_an_exif_rotation_is_undone(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    Image.new("RGB", (30, 10)).save(tmp_path / "turned.jpg", exif=exif)
    assert pixels_of(tmp_path / "turned.jpg").shape == (30, 10, 3)


def test_a_non_ascii_name_is_a_name(tmp_path):
    path = save(tmp_path / "行人 ñ_c1.png", np.zeros((2, 2, 3), np.uint8))
    assert pixels_of(path).shape == (2, 2, 3)


def bad(path):
    with pytest.raises(UnreadableImage) as error:
        read_image(path)
    assert str(path) in str(error.value)
    assert "--on-bad-image skip" in str(error.value)
    return error.value.reason


def test_a_missing_file_says_so(tmp_path):
    assert bad(tmp_path / "no.jpg") == "there is no such file"


def test_a_folder_says_so(tmp_path):
    (tmp_path / "a.jpg").mkdir()
    assert bad(tmp_path / "a.jpg") == "it is a folder"


def test_an_empty_file_says_so(tmp_path):
    (tmp_path / "a.jpg").touch()
    assert bad(tmp_path / "a.jpg") == "it is empty (0 bytes)"


def test_text_called_jpg_says_so(tmp_path):
    (tmp_path / "a.jpg").write_text("<html>404</html>")
    assert bad(tmp_path / "a.jpg") == "it is no image of a known kind"


@pytest.mark.parametrize("kind", ["jpg", "png", "bmp", "tif", "webp"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_truncated_image_is_refused(tmp_path, kind, share):
    noise = np.random.default_rng(0).integers(0, 255, (64, 48, 3), np.uint8)
    path = save(tmp_path / f"a.{kind}", noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert bad(path)


def test_a_giant_image_is_refused_before_it_is_decoded(tmp_path):
    Image.new("1", (10_000, 6_000)).save(tmp_path / "a.png")
    assert bad(tmp_path / "a.png") == "10000×6000 pixels, and the limit is 50,000,000"


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    save(tmp_path / "a.png", np.zeros((9, 9, 3), np.uint8))
    assert "limit" in bad(tmp_path / "a.png")


def test_files_are_resized_to_one_size(tmp_path):
    save(tmp_path / "a.png", np.full((5, 9, 3), 7, np.uint8))
    source = ImageFiles(tmp_path, ["a.png"], preprocessing=Preprocessing(height=16, width=8))
    assert source.read(0).shape == (16, 8, 3) and (source.read(0) == 7).all()


def test_the_limit_lies_below_that_of_the_decoder():
    assert images.PIXEL_LIMIT < Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("values", "kind", "expected", "guess"),
    [
        ([0.0, 0.5, 1.0], np.float32, [0, 127, 255], "fractions, taken as 0…1"),
        ([0.0, 100.4, 255.0], np.float32, [0, 100, 255], "fractions, taken as 0…255"),
        ([0, 7, 200], np.int32, [0, 7, 200], "taken as 0…255: none is larger"),
        ([0, 257, 65535], np.int32, [0, 1, 255], ""),
    ],
)
def test_values_of_a_wider_type_are_not_black(tmp_path, values, kind, expected, guess):
    Image.fromarray(np.array([values], kind)).save(tmp_path / "a.tiff")
    image = read_image(tmp_path / "a.tiff")
    assert np.asarray(image)[0, :, 0].tolist() == expected
    assert guess in image.info.get(GUESS, "") and bool(guess) == bool(image.info.get(GUESS))


@pytest.mark.parametrize("values", [[-1.0, 0.5], [0.0, 1e5], [0.0, np.nan], [0.0, np.inf]])
def test_values_that_are_no_brightness_are_refused(tmp_path, values):
    Image.fromarray(np.array([values], np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(UnreadableImage, match=r"its values are .* wanted"):
        read_image(tmp_path / "a.tiff")


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "dangling", "device", "socket"])
def test_what_is_no_file_is_not_opened(tmp_path, kind):
    path = tmp_path / "a.jpg"
    said = {"pipe": "a named pipe", "device": "a device", "socket": "a socket"}
    said |= {"folder": "a folder", "dangling": "leads nowhere", "loop": "cannot be opened"}
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    else:
        path.symlink_to({"loop": path, "dangling": tmp_path / "b", "device": "/dev/zero"}[kind])
    with pytest.raises(UnreadableImage, match=said[kind]):
        read_image(path)


def test_a_name_shows_a_picture_below_its_folders_only(tmp_path):
    for place in ("root/a.png", "added/b.png", "rooted/c.png"):
        (tmp_path / place).parent.mkdir()
        Image.new("RGB", (4, 8), (9, 8, 7)).save(tmp_path / place)
    folders = [str(tmp_path / "root"), str(tmp_path / "added")]
    for name in ("a.png", str(tmp_path / "root/a.png"), str(tmp_path / "added/b.png")):
        assert read_item(name, folders).size == (4, 8)
    for name in ("../rooted/c.png", "../added/../rooted/c.png", str(tmp_path / "rooted/c.png")):
        with pytest.raises(UnreadableImage, match="lies below no folder"):
            read_item(name, folders)
    with pytest.raises(UnreadableImage, match="lies below no folder"):
        read_item("a.png", [""])
