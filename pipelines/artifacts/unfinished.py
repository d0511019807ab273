"""How far an interrupted stage has come, beside what it goes on from, and how to go on."""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..errors import BadInput
from ..files import text_digest, write_text
from ..flow import remake_command, typed
from .manifest import Manifest

NAME = "progress.json"
SUM = "sha256"  # of the rest: nothing is refused by a note that was damaged


@dataclass(frozen=True)
class Unfinished:
    """What is kept of an interrupted stage.

    done, of: how much of what there is, in units; of: 0 where that is not known.
    purpose:  of `purpose_of`.
    command:  that began it, as it was typed, or "".   place: the folder that it was typed in.
    """

    done: int
    of: int
    unit: str
    purpose: str = ""
    command: str = ""
    place: str = ""

    def __str__(self) -> str:
        return f"{self.unit} {self.done:,}" + (f" of {self.of:,}" if self.of else "")

    def go_on(self, *, otherwise: str) -> str:
        """Return in words how to go on; otherwise: the command, where what was typed is unknown."""
        if not self.command:
            return f"go on with the command that began it: {otherwise}"
        elsewhere = self.place and self.place != os.getcwd()
        return f"go on with{f', in {self.place}' if elsewhere else ''}: {self.command}"


def purpose_of(wanted: Manifest) -> str:
    """Return a digest of what is to be made, but of what is done about an image that is damaged.

    After the error that names such an image the same is begun again, without it.
    """
    config = {key: value for key, value in wanted.config.items() if key != "on_bad_image"}
    return text_digest(replace(wanted, config=config).to_json())


def note_progress(folder: Path, done: int, *, of: int, unit: str, purpose: str) -> None:
    """Write how much of a stage is kept in its scratch folder, and the command at work."""
    kept = Unfinished(done, of, unit, purpose, typed(), os.getcwd())
    write_text(folder / NAME, json.dumps(asdict(kept) | {SUM: _sum_of(kept)}))


def _sum_of(kept: Unfinished) -> str:
    return text_digest(json.dumps(asdict(kept)))


def unfinished_in(folder: Path) -> Unfinished | None:
    """Return what is kept in a scratch folder; None where there is nothing, or a damaged note."""
    try:
        found = json.loads((folder / NAME).read_text(encoding="utf-8"))
        kept = Unfinished(**{key: value for key, value in found.items() if key != SUM})
        if SUM in found or kept.purpose:  # notes of earlier versions have neither
            return kept if found[SUM] == _sum_of(kept) else None
        return kept if str(kept) else None  # of what is no number, this raises
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def kept_of_this_command(scratch: Path) -> Unfinished | None:
    """Return what is kept of the command that this process was typed as; None where nothing.

    scratch: .unfinished in a run's folder.
    """
    found = [kept for kept in map(unfinished_in, scratch.glob("*")) if kept is not None]
    return next((kept for kept in found if kept.command and kept.command == typed()), None)


def unfinished_other(folder: Path, *, purpose: str) -> Unfinished | None:
    """Return what a scratch folder keeps for something else than `purpose`; None where nothing."""
    kept = unfinished_in(folder)
    return None if kept is None or kept.purpose in ("", purpose) else kept


def require_unfinished(folder: Path, *, purpose: str, overwrite: bool) -> None:
    """Raise BadInput where a scratch folder holds what is for something else, and would be lost.

    folder: .unfinished/ARTIFACT in a run's folder.
    """
    kept, run = unfinished_other(folder, purpose=purpose), folder.parent.parent
    if kept is not None and not overwrite:
        go_on = kept.go_on(otherwise=remake_command(folder.name, run=run))
        raise BadInput(
            f"{run / folder.name} was interrupted at {kept} with other settings or images; "
            f"{go_on}. Or begin anew: add --overwrite"
        )
