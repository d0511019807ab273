"""Processes that end in the middle of their work; Ray's workers import this."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.distributed import parts


def worked_or_killed(*, marks: Path, **call):
    """Do a task of a step, but kill this process in the second part the first time."""
    mark = marks / call["folder"].name
    if call["part"] == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return parts.work(**call)


@dataclass(frozen=True)
class Mortal:
    """Workers, each of which is killed once in some of the steps, or is this process."""

    workers: Any
    marks: Path
    steps: tuple[str, ...]

    @property
    def count(self) -> int:
        return self.workers.count

    def run(self, work, calls):
        if calls and calls[0]["folder"].name in self.steps:
            calls = [{**call, "marks": self.marks} for call in calls]
            work = worked_or_killed
        return self.workers.run(work, calls)


def main() -> None:
    """Refine on a cluster, as the command does, and end by SIGKILL in a step."""
    from nformer_cli import main as command

    step, sys.argv = sys.argv[1], ["nformer", *sys.argv[2:]]
    run = parts.Steps.run

    def ended(self, work, name, **given):
        found = run(self, work, name, **given)
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    parts.Steps.run = ended
    command.main()


if __name__ == "__main__":
    main()
