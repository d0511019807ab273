"""Read image files as RGB arrays of one size; an unreadable file is an error that names it."""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from PIL import Image, ImageOps

from ..errors import BadInput

# No format that starts another program (PostScript) or that Pillow decodes without limits.
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "TIFF", "GIF", "PPM", "JPEG2000")
PIXEL_LIMIT = 50_000_000  # an image of more is refused before it is decoded
BAD_CONTENT = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class UnreadableImage(BadInput):
    """One image that cannot be read: `name`, and `reason` in words."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"{name}: {reason}. Replace or remove it, or use --on-bad-image skip to go on without; "
            "`nformer check-data` lists every such image"
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
    """Image files below a root, decoded and resized when read. Safe to read from many threads."""

    def __init__(self, root: Path, names: Sequence[str], *, height: int, width: int) -> None:
        self.root, self.names = root, names
        self.height, self.width = height, width

    def read(self, row: int) -> np.ndarray:
        """Return image `row`, [height, width, 3] uint8."""
        return resized(
            read_image(self.root / self.names[row]), height=self.height, width=self.width
        )


def read_image(path: Path) -> Image.Image:
    """Return an image file as upright 8-bit RGB.

    Raises:
        UnreadableImage: missing, empty, truncated, too large, or no image; says which.
    """
    try:
        with path.open("rb") as file:
            return decode(file)
    except TOO_LARGE:
        raise UnreadableImage(str(path), _too_large("more pixels")) from None
    except BAD_CONTENT as error:
        raise UnreadableImage(str(path), _reason(path, error)) from error


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
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        scale = 257 if values.size and values.max() > 255 else 1  # 65535 / 255
        grey = np.clip(values // scale, 0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def resized(image: Image.Image, *, height: int, width: int) -> np.ndarray:
    """Return an RGB image as [height, width, 3] uint8, resampled with a triangle filter."""
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _too_large(found: str) -> str:
    return f"{found}, and the limit is {PIXEL_LIMIT:,}"


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    if isinstance(error, PermissionError):
        return "it may not be read"
    if path.is_file() and path.stat().st_size == 0:
        return "it is empty (0 bytes)"
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is no image of a known kind"
    text = str(error) or type(error).__name__
    return "it is truncated" if "truncated" in text.lower() else text
