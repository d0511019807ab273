"""pictures.json: where a run's pictures lie now, after --root has told that they were moved."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..files import write_text
from .run import Run

NAME = "pictures.json"


def pictures_root(run: Run, facts: Mapping[str, Any], *, told: str | Path | None = None) -> str:
    """Return the folder that pictures' names start from: as told, as told before, or as embedded.

    facts: of an artifact, with the root that its pictures had.   told: which the run remembers.
    """
    before, moved = str(facts.get("root") or ""), _moved(run)
    if told is None:
        now = moved.get(before, before)
        return now if Path(now).is_dir() else before
    now = str(Path(told).expanduser().resolve())
    if moved.get(before, before) != now:
        with suppress(BadInput, OSError):  # of a run that can only be read, each command is told
            write_text(run.path(NAME), json.dumps(moved | {before: now}, indent=2) + "\n")
    return now


def _moved(run: Run) -> dict[str, str]:
    """Return the folders of now by those of before; none where the file is not ours."""
    try:
        found = json.loads(run.path(NAME).read_text(encoding="utf-8"))
        return {str(before): str(now) for before, now in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}
