"""train.jsonl: one line of losses and rates for each logged step, and the stop at a bad loss."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from ..errors import PipelineError
from ..files import named_disk_errors, write_text

EVENTS = "tensorboard"  # the folder of TensorBoard's files, one for each stage in it


@dataclass(frozen=True)
class LogFiles:
    """Where a training writes its figures: JSON lines, and for TensorBoard a folder beside them."""

    path: Path
    tensorboard: bool = False

    @staticmethod
    def of(given: "Path | LogFiles") -> "LogFiles":
        """Return what is given, or a file alone."""
        return given if isinstance(given, LogFiles) else LogFiles(given)


class TrainLog:
    """A log in JSON lines, `{"stage": …, "step": …, …}`, shared by the stages of a run.

    Opening it keeps the other stages' lines, and of this stage's those up to `after`, the step
    that a resumed training goes on from: so no step stands in it twice.
    """

    def __init__(self, files: Path | LogFiles, stage: str, *, after: int = 0) -> None:
        files = LogFiles.of(files)
        self.stage, path = stage, files.path
        kept = [line for line in _whole_lines(path) if _stays(line, stage, after=after)]
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        self.path = path
        self._events = _events(path.parent / EVENTS / stage, after) if files.tensorboard else None

    def write(self, step: int, **figures: Any) -> None:
        """Add one line. Steps count from 1: the number of updates made."""
        line = {"stage": self.stage, "step": step, **figures}
        with named_disk_errors(self.path), self.path.open("ab", buffering=0) as file:
            file.write(f"{json.dumps(line)}\n".encode())  # opened anew: others may write between
        if self._events is not None:
            for name, value in figures.items():
                if isinstance(value, int | float):
                    self._events.add_scalar(name, value, step)

    def __enter__(self) -> "TrainLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._events is not None:
            self._events.close()


def _events(folder: Path, after: int) -> Any:
    """Return TensorBoard's writer; what it has of later steps is not shown any more."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=after + 1)


def read_log(path: Path, stage: str) -> list[dict[str, Any]]:
    """Return the lines that `stage` wrote, oldest first; none when there is no such file."""
    return [line for line in _whole_lines(path) if line["stage"] == stage]


def require_finite(loss: Tensor, step: int) -> float:
    """Return the loss as a number.

    Raises:
        PipelineError: it is NaN or infinite; names the step.
    """
    value = float(loss.detach())
    if not math.isfinite(value):
        raise PipelineError(
            f"the loss is {value} at step {step}: training has diverged and was stopped. Lower the "
            "learning rate (--set lr=…), clip gradients (--set clip=1), or switch mixed precision "
            "off (--set amp=off), and start again with --overwrite"
        )
    return value


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield a log's lines, leaving out one that a kill cut off."""
    if not path.is_file():
        return
    for text in path.read_bytes().splitlines():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict) and "stage" in line and type(line.get("step")) is int:
            yield line


def _stays(line: dict[str, Any], stage: str, *, after: int) -> bool:
    return bool(line["stage"] != stage or line["step"] <= after)
