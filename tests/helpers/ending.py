"""Commands, workers and nodes that end in the middle of refining in parts; workers import this."""

import os
import signal
import sys
from pathlib import Path

from pipelines.distributed import parts

MARK = "NFORMER_TEST_MARK"  # names a file: what is to be killed, once, and not again
STEP = "sum-0-lists"
WORK, RUN = parts.work, parts.Steps.run


def worked_or_killed(**call):
    """Do a task of a step; the first that finds no mark kills its worker, and its node too."""
    mark = os.environ.get(MARK)
    if mark and call["folder"].name == STEP and not Path(mark).exists():
        Path(mark).touch()
        if Path(mark).name == "node":
            os.kill(os.getppid(), signal.SIGKILL)  # the node's own process, which started this one
        os.kill(os.getpid(), signal.SIGKILL)
    return WORK(**call)


def main() -> None:
    """Run the command, which ends by SIGKILL after a step where one is named."""
    from nformer_cli import main as command

    last, sys.argv = sys.argv[1], ["nformer", *sys.argv[2:]]

    def ended(self, step, name, **given):
        found = RUN(self, step, name, **given)
        if name == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    parts.work, parts.Steps.run = worked_or_killed, ended
    command.main()


if __name__ == "__main__":
    from helpers import ending  # under the name that workers know

    ending.main()
