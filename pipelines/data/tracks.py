"""Tracklets: which frames make one, and which of them are read."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..embeddings import COLUMNS
from ..errors import BadInput
from ..seeding import numpy_generator
from .own_rows import Row

SEED = 0  # of frames drawn
PLACE = COLUMNS.index("track")


def sampled(tracks: Mapping[str, Sequence[str]], how: str | None) -> dict[str, Any]:
    """Return fields of a `Dataset`: the chosen frames of each tracklet, and a sentence of counts.

    how: all; N, evenly spaced; random-N. None: all.
    """
    match = re.fullmatch(r"all|(random-)?([1-9]\d{0,6})", how or "all")
    if match is None:
        raise BadInput(f"--frames {how}: wanted all, N (evenly spaced) or random-N, such as 8")
    most, drawn = int(match[2] or 0), bool(match[1])
    chosen = {
        name: tuple(frames[place] for place in _places(name, len(frames), most=most, drawn=drawn))
        for name, frames in tracks.items()
    }
    count, total = (sum(map(len, one.values())) for one in (chosen, tracks))
    of = f"{total:,}" if count == total else f"{count:,} of {total:,}"
    text = f"{len(tracks):,} tracklets of {of} frames (--frames {how or 'all'}); each is one row"
    return {"tracks": chosen, "notices": (text,)}


def _places(name: str, count: int, *, most: int, drawn: bool) -> list[int]:
    if not most or count <= most:
        return list(range(count))
    if drawn:
        random = numpy_generator(SEED, "frames", name)
        return sorted(random.permutation(count)[:most].tolist())
    return [(2 * place + 1) * count // (2 * most) for place in range(most)]


def grouped(rows: Sequence[Row]) -> tuple[list[Row], dict[str, list[str]]]:
    """Return one row a tracklet, called by its first frame, and the frames of each by that name.

    A tracklet has one track of one person and camera. A row without a track is one of its own.

    Raises:
        BadInput: no row has a track.
    """
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in sorted(rows):
        track = row.more[PLACE] if row.more else ""
        key = (row.split, row.person, row.camera, track) if track else (row.name,)
        found.setdefault(key, []).append(row)
    if all(len(key) == 1 for key in found):
        raise BadInput(
            "--frames: no track is known; wanted a column track, or {track} in --pattern"
        )
    firsts = [own[0] for own in found.values()]
    return firsts, {own[0].name: [row.name for row in own] for own in found.values()}
