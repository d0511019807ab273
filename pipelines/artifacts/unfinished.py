"""How far an interrupted stage has come, beside what it goes on from."""

import json
from pathlib import Path

from ..files import write_text

NAME = "progress.json"


def note_progress(folder: Path, done: int, *, of: int, unit: str) -> None:
    """Write how much of a stage is kept in its scratch folder."""
    write_text(folder / NAME, json.dumps({"done": done, "of": of, "unit": unit}))


def progress_in(folder: Path) -> str:
    """Return `epoch 1 of 3`, or "" where nothing is kept to go on from."""
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return f"{found['unit']} {found['done']:,} of {found['of']:,}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
