"""A search's settings as people type them: the part of a picture, and the threshold."""

from pathlib import Path
from typing import Literal

from ..errors import BadInput
from ..settings import is_unusual_number


def parsed_crop(text: str, *, option: str = "--crop") -> tuple[int, int, int, int] | None:
    """Return `x,y,w,h` as numbers, or None when there is none."""
    if not text:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4 or not all(part.isdecimal() for part in parts):
        raise BadInput(f"{option} {text}: wanted x,y,width,height in pixels, as in 10,20,64,128")
    x, y, width, height = map(int, parts)
    return x, y, width, height


def parsed_threshold(text: str, *, option: str = "--threshold") -> float | Literal["auto"] | None:
    """Return a similarity, "auto", or None when there is none."""
    if not text:
        return None
    if text == "auto":
        return "auto"
    try:
        value = float(text)
    except ValueError:
        value = 2.0
    if is_unusual_number(text) or not -1 <= value <= 1:
        raise BadInput(f"{option} {text}: wanted auto, or a similarity from -1 to 1")
    return value


def all_removed(items: int) -> BadInput:
    """Return the error of removing everything from an index."""
    return BadInput(f"all {items:,} items would be removed; an index needs one at least")


def uncalibrated(index: Path) -> BadInput:
    """Return the error of `--threshold auto` with an index that has no calibration."""
    return BadInput(
        f"--threshold auto: {index} has no calibration, which takes training identities (at least "
        "16). Search a few people who are in it and a few who are not, and give --threshold a "
        "similarity between theirs"
    )
