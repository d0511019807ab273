"""Masks of pictures, of COCO's kinds or image files: what lies outside of one is made black."""

import ast
import csv
import math
import os
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadInput
from ..files import text_digest
from .folders import inside
from .tables import encoding_of, plain

if TYPE_CHECKING:
    import numpy as np

COLUMNS = ("segmentation", "mask")
DIGITS = 12  # of a cell's SHA-256 in a name
NONE = ("", "nan", "none", "null", "[]")
WANTED = (
    "wanted COCO's RLE (size and counts), a list of polygons, or the path of an image file below "
    "the table's folder"
)


def named_mask(text: str, *, table: str, where: str) -> str:
    """Return how a picture's name says which mask it has; "" where the cell is empty.

    It is the path of an image file, or the table's name with a digest of the cell.

    text: COCO's RLE, compressed or not, a list of polygons, or a path.   where: for errors.

    Raises:
        BadInput: none of these, or pycocotools is not there, which decodes the first two.
    """
    if text.lower() in NONE:
        return ""
    if text[0] not in "{[":
        if not inside(text) or any(sign in text for sign in "#&"):
            raise BadInput(f"{where}: mask {text[:60]!r}; {WANTED}")
        return text.replace("\\", "/")
    _parsed(text, where=where)
    if find_spec("pycocotools") is None:
        raise BadInput(
            f"{where}: masks as RLE or polygons need pycocotools: python -m pip install "
            "'nformer[masks]'; or leave backgrounds as they are with --no-masks"
        )
    return f"{table}:{text_digest(text)[:DIGITS]}"


def table_mask(folder: Path, name: str, *, size: tuple[int, int]) -> "np.ndarray":
    """Return the mask of a table that a picture's name names: [height, width] bool.

    folder: that the table's name starts from.   size: of the picture, height and width.

    Raises:
        BadInput: it is not there any more, no mask, or of another size than the picture.
    """
    file, _, digest = name.rpartition(":")
    path = folder / file
    text = _cells(path, os.stat(path).st_mtime_ns).get(digest) if path.is_file() else None
    if text is None:
        raise BadInput(f"its mask is not in {path} any more; read the data set again")
    return _decoded(_parsed(text, where=str(path)), size=size)


def require_size(found: tuple[int, ...], wanted: tuple[int, int]) -> None:
    """Raise BadInput where a mask is not as high and wide as its picture."""
    if found != wanted:
        raise BadInput(
            f"its mask is of {found[1]}×{found[0]} pixels, the picture of {wanted[1]}×{wanted[0]}"
        )


@lru_cache(maxsize=4)
def _cells(path: Path, _: int) -> dict[str, str]:
    """Return the masks that a table holds, by their digests; the time of its file keeps it true."""
    with path.open(encoding=encoding_of(path), newline="") as file:
        reader = csv.DictReader(file)
        column = next((one for one in reader.fieldnames or () if plain(one) in COLUMNS), "")
        cells = [(line.get(column) or "").strip() for line in reader]
    return {text_digest(cell)[:DIGITS]: cell for cell in cells if cell[:1] in ("{", "[")}


def _parsed(text: str, *, where: str) -> Any:
    """Return COCO's RLE as a mapping or polygons as a list of lists of numbers, checked."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    if isinstance(found, dict) and _is_rle(found):
        return found
    if isinstance(found, list) and found:
        polygons = found if isinstance(found[0], list) else [found]
        if all(_is_polygon(one) for one in polygons):
            return polygons
    raise BadInput(f"{where}: mask {text[:60]!r}; {WANTED}")


def _is_rle(found: dict[Any, Any]) -> bool:
    size, counts = found.get("size"), found.get("counts")
    sized = isinstance(size, list | tuple) and len(size) == 2 and _whole(size, least=1)
    runs = isinstance(counts, list) and _whole(counts, least=0)
    return bool(sized) and (runs or isinstance(counts, str | bytes))


def _whole(numbers: Any, *, least: int) -> bool:
    return all(type(one) is int and least <= one < 2**31 for one in numbers)


def _is_polygon(found: Any) -> bool:
    return (
        isinstance(found, list)
        and len(found) >= 6
        and len(found) % 2 == 0
        and all(isinstance(one, int | float) and math.isfinite(one) for one in found)
    )


def _decoded(content: Any, *, size: tuple[int, int]) -> "np.ndarray":
    from pycocotools import mask as coco

    if isinstance(content, dict):
        require_size(tuple(content["size"]), size)  # before memory is taken for it
        runs = isinstance(content["counts"], list)
        encoded = coco.frPyObjects(content, *size) if runs else content
    else:
        encoded = coco.merge(coco.frPyObjects(content, *size))
    try:
        found: np.ndarray = coco.decode(encoded).astype(bool)
    except ValueError as error:
        raise BadInput(f"its mask cannot be decoded: {error}") from error
    return found
