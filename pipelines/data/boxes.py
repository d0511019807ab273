"""Boxes of frames: a CSV, MOT's text or COCO's JSON of rectangles, with scores and tracks.

A box is a picture of its own. Its name is its frame's with a media fragment (W3C, 2012):
`cam1/000042.jpg#xywh=210,80,64,128`, and `&track=7` behind it for a tracklet; `&mask=…` says which
mask it has (`masks.named_mask`).
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import BadInput, blaming
from ..files import require_file
from .tables import encoding_of, lines_of, plain

Rectangle = tuple[int, int, int, int]  # x, y, width, height in pixels
# By field, the names of a column, without capitals and signs, most telling first.
ALIASES = {
    "frame": (
        *("frame", "framepath", "path", "imagepath", "image", "file", "filename", "filepath"),
        *("img", "imgpath", "imagename", "imageid"),
    ),
    "x": ("x", "left", "bbleft", "bboxx", "xmin", "x1", "x0"),
    "y": ("y", "top", "bbtop", "bboxy", "ymin", "y1", "y0"),
    "w": ("w", "width", "bbwidth", "bboxw"),
    "h": ("h", "height", "bbheight", "bboxh"),
    "right": ("xmax", "x2", "right"),
    "bottom": ("ymax", "y2", "bottom"),
    "score": ("score", "conf", "confidence", "detscore"),
    "track": ("track", "trackid", "trackletid", "tracklet", "objectid", "instanceid", "id"),
}
MOT = ("frame", "track", "x", "y", "w", "h", "score")  # its columns, without a header
FRAGMENT = re.compile(
    r"#(?=xywh=|mask=)(?:xywh=(\d+),(\d+),(\d+),(\d+))?(?:&?mask=([^&#]*))?(?:&track=(.*))?$",
    re.DOTALL,
)
SEPARATORS = (",", ";", "\t", " ")


@dataclass(frozen=True)
class Box:
    """A rectangle of a frame.   where: the line or the entry that it was read from."""

    frame: str
    x: float
    y: float
    w: float
    h: float
    score: float = math.nan
    track: str = ""
    where: str = ""

    @property
    def rectangle(self) -> Rectangle:
        """The whole pixels that it covers, from its nearest corner: x, y, width, height."""
        left, top = round(self.x), round(self.y)
        return left, top, round(self.x + self.w) - left, round(self.y + self.h) - top

    @property
    def name(self) -> str:
        """The box's name as a picture."""
        return named_box(self.frame, self.rectangle)


@dataclass(frozen=True)
class Boxes:
    """All boxes of a file, and sentences about how it was understood."""

    boxes: tuple[Box, ...]
    understood: tuple[str, ...]


def named_box(frame: str, rectangle: Rectangle, *, track: str = "") -> str:
    """Return the name of a part of a frame."""
    name = f"{frame}#xywh={','.join(map(str, rectangle))}"
    return f"{name}&track={track}" if track else name


def boxed(name: str, text: str, *, where: str) -> str:
    """Return the name of the part of a picture that a cell names; of the picture, if it is empty.

    text: x, y, width and height in pixels, as in [12, 7, 64, 128].   where: for errors.
    """
    if plain(text) in ("", "nan", "none"):
        return name
    numbers = [float(one) for one in re.findall(r"-?\d+(?:\.\d+)?", text)]
    if len(numbers) != 4 or min(numbers[2:]) < 1 or min(numbers) < 0:
        raise BadInput(f"{where}: bbox is {text!r}; wanted [x, y, width, height] in pixels")
    x, y, width, height = map(round, numbers)
    return named_box(name, (x, y, width, height))


def parts_of(name: str) -> tuple[str, Rectangle | None]:
    """Return a picture's file and, where the name is that of a box, its rectangle."""
    found = FRAGMENT.search(name)
    if found is None:
        return name, None
    file, box = name[: found.start()], found.groups()[:4]
    if box[0] is None:
        return file, None
    x, y, w, h = map(int, box)
    return file, (x, y, w, h)


def mask_of(name: str) -> str:
    """Return which mask a picture's name says that it has; "" for none."""
    found = FRAGMENT.search(name)
    return (found[5] or "") if found else ""


def with_mask(name: str, mask: str) -> str:
    """Return the name of a picture, or of its part, with that of its mask; "" for none."""
    if not mask:
        return name
    return f"{name}&mask={mask}" if FRAGMENT.search(name) else f"{name}#mask={mask}"


def within(box: Box, *, width: int, height: int) -> Box:
    """Return the part of a box that lies in its frame of this size.

    Raises:
        BadInput: no pixel does.
    """
    left, top = max(box.x, 0), max(box.y, 0)
    right, bottom = min(box.x + box.w, width), min(box.y + box.h, height)
    inside = replace(box, x=left, y=top, w=right - left, h=bottom - top)
    if not (right > left and bottom > top and min(inside.rectangle[2:]) > 0):
        shown = ",".join(f"{value:g}" for value in (box.x, box.y, box.w, box.h))
        raise BadInput(
            f"{box.where}: the box {shown} (x, y, width, height) lies outside of {box.frame}, "
            f"which is {width}×{height}"
        )
    return inside


def read_boxes(path: Path, *, frames: Sequence[str]) -> Boxes:
    """Read a file of boxes; `frames` are the names of the pictures that it may speak of.

    Raises:
        BadInput: no such file, neither CSV, MOT nor JSON, a column that lacks, a number that is
            none, or a frame that is not there.
    """
    require_file(path, "boxes of frames (.csv, .txt or .json)")
    with blaming(path, saying="cannot be read as boxes: wanted CSV, MOT's text or COCO's JSON"):
        if path.suffix.lower() == ".json":
            entries, said = _of_json(path)
        else:
            entries, said = _of_text(path)
        known = _Frames(frames)
        boxes = [_box(entry, where=f"{path}, {where}", known=known) for where, entry in entries]
    if not boxes:
        raise BadInput(f"{path} holds no boxes")
    tracks = len({box.track for box in boxes if box.track})
    told = f"{len(boxes):,} boxes in {len({box.frame for box in boxes}):,} frames"
    told += f", {tracks:,} tracks" if tracks else ""
    return Boxes(tuple(boxes), (f"{path}: {said}; {told}",))


class _Frames:
    """The frames by what a file may call them: their name, its end, or a number."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = set(names)
        self.by_end: dict[str, list[str]] = {}
        for name in names:
            pure = PurePosixPath(name)
            number = pure.stem.lstrip("0") or "0"
            for end in {pure.name, pure.stem, number if number.isdecimal() else pure.stem}:
                self.by_end.setdefault(end, []).append(name)

    def find(self, text: str, *, where: str) -> str:
        wanted = text.replace("\\", "/").removeprefix("./")
        if wanted in self.names:
            return wanted
        pure = PurePosixPath(wanted)
        tails = ["/".join(pure.parts[start:]) for start in range(1, len(pure.parts))]
        below = next((tail for tail in tails if tail in self.names), None)
        if below is not None:
            return below
        found = self.by_end.get(pure.name, [])
        if len(found) == 1:
            return found[0]
        problem = f"{len(found)} pictures are called so" if found else "there is no such picture"
        raise BadInput(f"{where}: frame {text!r}: {problem}")


def _of_text(path: Path) -> tuple[Iterator[tuple[str, Mapping[str, Any]]], str]:
    encoding = encoding_of(path)
    separator, head = _best_separator(path, encoding)
    if len(head) >= 6 and all(_is_number(value) for value in head[:6]):
        lines = lines_of(path, encoding, separator=separator)
        return _mot(lines), "read as MOT's text (frame, track, left, top, width, height, score)"
    columns = {
        field: next((place for alias in names for place in _places(head, alias)), -1)
        for field, names in ALIASES.items()
    }
    columns = {field: place for field, place in columns.items() if place >= 0}
    _require_columns(path, columns, head=head)
    lines = lines_of(path, encoding, separator=separator)
    taken = ", ".join(f"{head[place]!r} as {field}" for field, place in columns.items())
    return _named(lines, columns), f"read {taken}"


def _best_separator(path: Path, encoding: str) -> tuple[str, list[str]]:
    heads = {
        separator: next(lines_of(path, encoding, separator=separator), (1, []))[1]
        for separator in SEPARATORS
    }
    best = max(heads, key=lambda separator: (len(heads[separator]), -SEPARATORS.index(separator)))
    return best, heads[best]


def _places(head: Sequence[str], alias: str) -> list[int]:
    return [place for place, name in enumerate(head) if plain(name) == alias]


def _require_columns(path: Path, columns: Mapping[str, int], *, head: Sequence[str]) -> None:
    missing = [field for field in ("frame", "x", "y") if field not in columns]
    missing += ["w or x2"] if not {"w", "right"} & set(columns) else []
    missing += ["h or y2"] if not {"h", "bottom"} & set(columns) else []
    if missing:
        raise BadInput(
            f"{path} has no column {', '.join(missing)}: its first line is {','.join(head)[:80]!r};"
            " wanted frame, x, y, w, h (or x1, y1, x2, y2), and score and track where known"
        )


def _mot(lines: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield MOT's lines; its pixels are counted from 1, and track -1 is none."""
    for line, fields in lines:
        if not any(fields):
            continue
        entry: dict[str, Any] = dict(zip(MOT, fields, strict=False))
        entry["frame"] = str(entry["frame"]).removesuffix(".0")
        for key in ("x", "y"):
            entry[key] = _number(entry.get(key), key, where=f"line {line}") - 1
        if str(entry.get("track", "")).startswith("-"):
            entry["track"] = ""
        yield f"line {line}", entry


def _named(
    lines: Iterator[tuple[int, list[str]]], columns: Mapping[str, int]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, (line, fields) in enumerate(lines):
        if number and any(fields):
            if len(fields) <= max(columns.values()):
                raise BadInput(f"line {line} has {len(fields)} fields, fewer than the first line")
            yield f"line {line}", {field: fields[place] for field, place in columns.items()}


def _of_json(path: Path) -> tuple[Iterator[tuple[str, Mapping[str, Any]]], str]:
    content = json.loads(path.read_bytes())
    names: dict[Any, str] = {}
    entries, said = content, "read as a JSON list"
    if isinstance(content, dict):
        entries, said = content.get("annotations"), "read as COCO's JSON"
        names = {one["id"]: one["file_name"] for one in content.get("images", [])}
    if not isinstance(entries, list):
        raise BadInput("wanted a list of boxes, or COCO's images and annotations")

    def each() -> Iterator[tuple[str, Mapping[str, Any]]]:
        for number, entry in enumerate(entries, 1):
            if not isinstance(entry, dict):
                raise BadInput(f"entry {number} is no mapping")
            yield f"entry {number}", _of_entry(entry, names)

    return each(), said


def _of_entry(entry: Mapping[str, Any], names: Mapping[Any, str]) -> dict[str, Any]:
    known = {plain(key): value for key, value in entry.items()}
    found = {
        field: next((known[alias] for alias in aliases if alias in known), None)
        for field, aliases in ALIASES.items()
    }
    if "bbox" in known:
        found["x"], found["y"], found["w"], found["h"] = known["bbox"]
    if names and "imageid" in known:
        found["frame"] = names[known["imageid"]]
    if "trackid" not in known and "track" not in known and names:
        found["track"] = None  # the `id` of COCO's annotations counts them
    return {field: value for field, value in found.items() if value is not None}


def _box(entry: Mapping[str, Any], *, where: str, known: _Frames) -> Box:
    numbers = {
        key: _number(entry[key], key, where=where)
        for key in ("x", "y", "w", "h", "right", "bottom")
        if key in entry
    }
    missing = [key for key in ("frame", "x", "y") if key not in entry]
    width = numbers.get("w", numbers.get("right", math.nan) - numbers.get("x", math.nan))
    height = numbers.get("h", numbers.get("bottom", math.nan) - numbers.get("y", math.nan))
    if missing or not (width > 0 and height > 0):
        lacking = ", ".join(missing) or "a width and a height above 0"
        raise BadInput(f"{where}: wanted {lacking} in {dict(entry)}")
    frame = known.find(str(entry["frame"]), where=where)
    score = _number(entry["score"], "score", where=where) if entry.get("score") else math.nan
    track = str(entry.get("track", "")).strip()
    return Box(frame, numbers["x"], numbers["y"], width, height, score, track, where)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", text, re.ASCII) is not None


def _number(value: Any, name: str, *, where: str) -> float:
    if isinstance(value, bool) or not _is_number(str(value)):
        raise BadInput(f"{where}: {name} is {value!r}; a number of pixels is wanted")
    return float(value)
