"""pictures.json: where a run's pictures lie now, after --root has told that they were moved."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..data.boxes import parts_of
from ..data.images import is_there
from ..errors import BadInput
from ..files import write_text
from ..progress import Progress, Silent
from .run import Run

NAME = "pictures.json"
LOOKED_FOR = 10_000  # pictures at most, evenly spaced


def pictures_root(
    run: Run,
    facts: Mapping[str, Any],
    *,
    told: str | Path | None = None,
    names: Sequence[str] = (),
    progress: Progress = Silent(),
) -> str:
    """Return the folder that pictures' names start from: as told, as told before, or as embedded.

    facts: of an artifact, with the root that its pictures had.
    told:  by --root. Where some pictures are below it, the run remembers it; where none is, a
           warning says so, and the folder is the one before.
    names: of the pictures.
    """
    embedded, moved = str(facts.get("root") or ""), _moved(run)
    before = moved.get(embedded, embedded)
    if not Path(before).is_dir():
        before = embedded
    if told is None:
        return before
    now = str(Path(told).expanduser().resolve())
    if not _some_are_there(names, now):
        progress.warn(_nothing_there(names, now))
        return before
    if moved.get(embedded, embedded) != now:
        with suppress(BadInput, OSError):  # of a run that can only be read, each command is told
            write_text(run.path(NAME), json.dumps(moved | {embedded: now}, indent=2) + "\n")
    return now


def _some_are_there(names: Sequence[str], folder: str) -> bool:
    step = 1 + len(names) // LOOKED_FOR
    return any(is_there(names[row], [folder]) for row in range(0, len(names), step))


def _nothing_there(names: Sequence[str], folder: str) -> str:
    """Return that a folder is not the one that names start from, and which would be."""
    if not names:
        return f"--root {folder} is neither used nor remembered: no pictures are named"
    file = parts_of(names[0])[0]
    text = (
        f"--root {folder} is neither used nor remembered: none of {len(names):,} pictures is "
        f"below it. Wanted is the folder that holds {file}"
    )
    upper, slash, rest = file.partition("/")
    while slash:
        if is_there(rest, [folder]):
            return f"{text}; {rest} is there: move it into a folder {upper}, and name its parent"
        head, slash, rest = rest.partition("/")
        upper = f"{upper}/{head}"
    return text


def _moved(run: Run) -> dict[str, str]:
    """Return the folders of now by those of before; none where the file is not ours."""
    try:
        found = json.loads(run.path(NAME).read_text(encoding="utf-8"))
        return {str(before): str(now) for before, now in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}
