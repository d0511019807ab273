"""Read image files as RGB arrays of one size; an unreadable file is an error that names it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from PIL import Image, ImageOps

from ..errors import BadInput, reason_of
from ..files import no_file
from ..preprocessing import Preprocessing
from .boxes import mask_of, parts_of
from .folders import inside
from .masks import require_size, table_mask

# No format that starts another program (PostScript) or that Pillow decodes without limits.
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "TIFF", "GIF", "PPM", "JPEG2000")
PIXEL_LIMIT = 50_000_000  # an image of more is refused before it is decoded
MISSING = "there is no such file"
TURNED = 0x0112  # of EXIF, 5 and above: width and height change places
GUESS = "guessed"  # under this key of an image's `info` stands what its values were taken for
TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class UnreadableImage(BadInput):
    """One image that cannot be read: `name`, and `reason` in words.

    check: the command that lists all such images of its data set, where that is known.
    """

    def __init__(
        self, name: str, reason: str, *, check: str = "nformer check-data DATASET --root DIR"
    ) -> None:
        super().__init__(
            f"{name}: {reason}. There may be more: `{check}` lists all of them. Replace or remove "
            "them, or go on without them: --on-bad-image skip"
        )
        self.name, self.reason = name, reason


class ImageSource(Protocol):
    """Images by row, all of one size."""

    names: Sequence[str]
    height: int
    width: int

    def read(self, row: int) -> np.ndarray:
        """Return image `row`, [height, width, 3] uint8; UnreadableImage when it cannot be read."""


class ImageFiles:
    """Image files below a root, decoded and fitted when read. Safe to read from many threads."""

    def __init__(self, root: Path, names: Sequence[str], *, preprocessing: Preprocessing) -> None:
        self.root, self.names, self.preprocessing = root, names, preprocessing
        self.height, self.width = preprocessing.height, preprocessing.width

    def read(self, row: int) -> np.ndarray:
        """Return image `row`, [height, width, 3] uint8."""
        return fitted(read_part(self.root, self.names[row]), self.preprocessing)


def read_part(root: Path, name: str) -> Image.Image:
    """Return an image below a root by its name, which may be that of a box of a picture.

    What lies outside of the mask that a name tells of is black.

    Raises:
        UnreadableImage: as `read_image`, where the box lies outside of its picture, and where the
            mask is not there or of another size.
    """
    image = _masked(read_image(root / parts_of(name)[0]), name, folder=root)
    return _cut(image, name, folder=root)


def _cut(image: Image.Image, name: str, *, folder: Path) -> Image.Image:
    """Return the part of a picture that its name tells of."""
    rectangle = parts_of(name)[1]
    if rectangle is None:
        return image
    x, y, width, height = rectangle
    if min(width, height) < 1 or x + width > image.width or y + height > image.height:
        size = f"{image.width}×{image.height}"
        raise UnreadableImage(str(folder / name), f"its box lies outside of the picture, {size}")
    return image.crop((x, y, x + width, y + height))


def _masked(image: Image.Image, name: str, *, folder: Path) -> Image.Image:
    """Return a picture that is black outside of the mask that its name tells of."""
    mask, size = mask_of(name), (image.height, image.width)
    kept: np.ndarray
    if not mask:
        return image
    try:
        if not inside(mask):
            raise BadInput(f"its mask {mask} lies below no folder of pictures")
        if ":" in mask:
            kept = table_mask(folder, mask, size=size)
        else:
            kept = np.any(np.asarray(read_image(folder / mask)), axis=2)
        require_size(kept.shape, size)
    except BadInput as error:
        raise UnreadableImage(str(folder / name), str(error)) from error
    return Image.fromarray(np.asarray(image) * kept[:, :, None])


def read_image(path: Path) -> Image.Image:
    """Return an image file as upright 8-bit RGB.

    Raises:
        UnreadableImage: missing, empty, truncated, too large, or no image; says which.
    """
    found = no_file(path)  # a named pipe, say, whose reading does not end
    if found:
        raise UnreadableImage(str(path), MISSING if found == "is not there" else f"it {found}")
    try:
        with path.open("rb") as file:
            return decode(file)
    except TOO_LARGE:
        raise UnreadableImage(str(path), _too_large("more pixels")) from None
    except Exception as error:  # Pillow's decoders raise anything of damaged bytes
        raise UnreadableImage(str(path), _reason(path, error)) from error


def image_size(path: Path) -> tuple[int, int]:
    """Return the width and height of an image as it is shown, without decoding it.

    Raises:
        UnreadableImage: missing, or no image.
    """
    found = no_file(path)
    if found:
        raise UnreadableImage(str(path), MISSING if found == "is not there" else f"it {found}")
    try:
        with Image.open(path, formats=FORMATS) as image:
            turned = image.getexif().get(TURNED, 1) >= 5
            return image.size[::-1] if turned else image.size
    except Exception as error:
        raise UnreadableImage(str(path), _reason(path, error)) from error


def read_item(name: str, folders: Sequence[str]) -> Image.Image:
    """Return an item's picture by the name that a file gives it: one below any of some folders.

    A name starts from the first of them, the data set's root ("": not known), or is absolute; it
    may be that of a box of a picture.

    Raises:
        UnreadableImage: as `read_image`, and where the name leads out of all folders.
    """
    folder = Path(folders[0])
    image = _masked(read_image(item_place(name, folders)), name, folder=folder)
    return _cut(image, name, folder=folder)


def item_place(name: str, folders: Sequence[str]) -> Path:
    """Return the file of an item's picture; see `read_item`."""
    path = os.path.normpath(os.path.join(folders[0], parts_of(name)[0]))
    below = [os.path.join(os.path.normpath(folder), "") for folder in folders if folder]
    if not path.startswith(tuple(below)):
        raise UnreadableImage(name, "it lies below no folder of this run's pictures")
    return Path(path)


def is_there(name: str, folders: Sequence[str]) -> bool:
    """Return whether an item's picture is a file below any of the folders; see `read_item`."""
    try:
        return item_place(name, folders).is_file()
    except UnreadableImage:
        return False


def decode(file: IO[bytes]) -> Image.Image:
    """Return an open image file as upright 8-bit RGB."""
    with Image.open(file, formats=FORMATS) as image:
        if image.width * image.height > PIXEL_LIMIT:
            raise ValueError(_too_large(f"{image.width}×{image.height} pixels"))
        image.load()
        upright = ImageOps.exif_transpose(image) if "exif" in image.info else image
        return as_rgb(upright)


def as_rgb(image: Image.Image) -> Image.Image:
    """Return an image of any mode as 8-bit RGB; 16-bit grey keeps its high byte."""
    if image.mode == "RGB":
        return image.copy() if image.readonly else image
    if image.mode == "F" or image.mode.startswith("I"):
        grey, guess = _bytes_of(np.asarray(image))
        found = Image.fromarray(grey).convert("RGB")
        found.info[GUESS] = guess  # "" where nothing was guessed
        return found
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def _bytes_of(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Return grey values of a wider type as [H, W] uint8, and what they were taken for."""
    least, most = float(values.min(initial=0)), float(values.max(initial=0))
    if not (least >= 0 and np.isfinite(most)):
        raise ValueError(f"its values are from {least:g} to {most:g}; 0 and more is wanted")
    if values.dtype.kind == "f":
        limit = 1 if most <= 1 else 255
        if most > 255:
            raise ValueError(f"its values are fractions up to {most:g}; 0…1 or 0…255 is wanted")
        guess = f"fractions, taken as 0…{limit}"
    else:
        limit = 65535 if most > 255 else 255
        guess = "of 16 or 32 bits, taken as 0…255: none is larger" if limit == 255 else ""
    grey = values * (255 / limit) if limit < 255 else values // (limit // 255)
    return np.clip(grey, 0, 255).astype(np.uint8), guess


def fitted(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Return an RGB image as [height, width, 3] uint8, resized and cut as a network wants it."""
    height, width = preprocessing.resized_size
    filter_ = Image.Resampling[preprocessing.resize.upper()]
    target = width, height
    if preprocessing.fit != "stretch":
        wide = width * image.height >= height * image.width  # than the image is, by shape
        whole = int if preprocessing.fit == "crop" else round  # as torchvision and timm do
        if wide == (preprocessing.fit == "crop"):  # the width is what decides
            target = width, max(1, whole(width * image.height / image.width))
        else:
            target = max(1, whole(height * image.width / image.height)), height
    if image.size != target:
        image = image.resize(target, filter_)
    if image.size != (preprocessing.width, preprocessing.height):
        image = _centred(image, height=preprocessing.height, width=preprocessing.width)
    return np.asarray(image)


def _centred(image: Image.Image, *, height: int, width: int) -> Image.Image:
    """Return the centre of an image, black where it is too small."""
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))  # black outside of the image


def _too_large(found: str) -> str:
    return f"{found}, and the limit is {PIXEL_LIMIT:,}"


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "it may not be read"
    if path.stat().st_size == 0:
        return "it is empty (0 bytes)"
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is no image of a known kind"
    text = reason_of(error)
    return "it is truncated" if "truncated" in text.lower() else text
