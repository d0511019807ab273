"""What was found out while the default model was chosen, for an interrupted command to go on."""

import json
import time
from pathlib import Path
from typing import Any

from ..artifacts.checkpoints import load_checkpoint, save_checkpoint
from ..artifacts.unfinished import note_progress
from ..files import sealed, sealing
from ..progress import Task
from ..refiners.edge_gate import EdgeGate

SECONDS = 5.0  # between two writings of the scores
SCORES, GATE = "scores.json", "gate.pt"


class Scores(dict[str, float]):
    """The mAP of each fold and closed form that was tried, kept in a folder.

    key: of the training that they belong to, as for `load_state`; those of another are dropped.
    """

    def __init__(self, folder: Path, *, key: str) -> None:
        super().__init__()
        self.path, self.key, self.written = folder / SCORES, key, time.monotonic()
        found = sealed(self.path)
        kept = json.loads(found.read_text(encoding="utf-8")) if found else {}
        if kept.get("key") == key:
            self.update(kept["scores"])

    def keep(self, candidates: int) -> None:
        """Write what is known, unless that was done a moment ago."""
        if time.monotonic() - self.written < SECONDS:
            return
        with sealing(self.path) as temporary:
            temporary.write_text(json.dumps({"key": self.key, "scores": self}), encoding="utf-8")
        note_progress(self.path.parent, candidates, of=0, unit="candidate", purpose=self.key)
        self.written = time.monotonic()


class KeepingTask:
    """A task that keeps scores as it advances."""

    def __init__(self, task: Task, scores: Scores) -> None:
        self.task, self.scores, self.done = task, scores, 0

    def advance(self, amount: int = 1, **figures: float | str) -> None:
        """Count candidates."""
        self.task.advance(amount, **figures)
        self.done += amount
        self.scores.keep(self.done)

    def skip(self, amount: int) -> None:
        """Count candidates of an earlier command."""
        self.task.skip(amount)


def keep_gate(
    folder: Path, gate: EdgeGate | None, *, facts: dict[str, Any], key: str, chosen: str
) -> None:
    """Write a trained gate, or that none was kept, with the facts about it.

    chosen: the closed form that it was trained after, in words.
    """
    tensors = {} if gate is None else gate.state_dict()
    with sealing(folder / GATE) as temporary:
        save_checkpoint(temporary, tensors, meta={"key": key, "chosen": chosen, "facts": facts})


def kept_gate(
    folder: Path, *, key: str, chosen: str
) -> tuple[EdgeGate | None, dict[str, Any]] | None:
    """Return what `keep_gate` wrote for this training and closed form; None where it did not."""
    found = sealed(folder / GATE)
    tensors, meta = load_checkpoint(found) if found else ({}, {})
    if (meta.get("key"), meta.get("chosen")) != (key, chosen):
        return None
    gate = EdgeGate() if tensors else None
    if gate is not None:
        gate.load_state_dict(tensors)
        gate.eval()
    return gate, meta["facts"]
