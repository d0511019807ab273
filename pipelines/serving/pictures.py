"""Pictures that come in, and those of items that go out: by row, re-encoded, in memory."""

import io
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

from ..data.images import (
    PIXEL_LIMIT,
    TOO_LARGE,
    UnreadableImage,
    decode,
    read_item,
)
from ..errors import BadInput, reason_of
from .live import Opened

if TYPE_CHECKING:
    from PIL.Image import Image

SMALL = (256, 384)  # width and height at most, of a picture in a list
KEPT_BYTES = 64 << 20


def read_sent(content: bytes) -> "Image":
    """Return a picture that was sent, as upright 8-bit RGB.

    Raises:
        BadInput: nothing, no picture of a known kind, a damaged one, or too many pixels.
    """
    from PIL import Image

    if not content:
        raise BadInput("no picture was sent")
    try:
        return decode(io.BytesIO(content))
    except TOO_LARGE:
        raise BadInput(f"the picture has more than {PIXEL_LIMIT:,} pixels") from None
    except Image.UnidentifiedImageError:
        raise BadInput("what was sent is no picture of a known kind") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise anything of damaged bytes
        raise BadInput(f"the picture cannot be read: {reason_of(error)}") from None


def item_picture(opened: Opened, row: int) -> "Image":
    """Return an item's picture; BadInput where it does not lie below the index's folders."""
    try:
        return read_item(opened.searching.index.names[row], list(opened.searching.folders))
    except UnreadableImage as error:
        raise BadInput(f"the picture of row {row} cannot be shown: {error.reason}") from None


class Shown:
    """Items' pictures as JPEG, those last asked for kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, bool], bytes] = OrderedDict()
        self._bytes, self._turn = 0, Lock()

    def jpeg(self, opened: Opened, row: int, *, small: bool) -> bytes:
        """Return an item's picture; small: fitted into a list."""
        key = (opened.version, row, small)
        with self._turn:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        image = item_picture(opened, row)
        if small:
            image.thumbnail(SMALL)
        file = io.BytesIO()
        image.save(file, format="JPEG", quality=88)
        self._keep(key, file.getvalue())
        return file.getvalue()

    def _keep(self, key: tuple[str, int, bool], content: bytes) -> None:
        with self._turn:
            if key not in self._kept:
                self._kept[key] = content
                self._bytes += len(content)
            while self._bytes > KEPT_BYTES and self._kept:
                self._bytes -= len(self._kept.popitem(last=False)[1])
