"""The `nformer` command in processes of their own: exit codes, seconds, memory, and their words."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

LIMIT = 20  # seconds until a command hangs
# Its libraries are imported once, and each command is a fork: a start takes a second otherwise.
CODE = f"""
import json, os, signal, sys, tempfile, time
import gc, h5py, numpy, PIL.Image
import nformer_cli.app
import pipelines.stages.import_embeddings
from nformer_cli.main import main
gc.freeze()
for line in sys.stdin:
    with tempfile.TemporaryFile() as said:
        begun, child = time.monotonic(), os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(said.fileno(), 2)
            sys.argv = ["nformer", *json.loads(line)]
            main()
        found = 0
        while not found and time.monotonic() < begun + {LIMIT}:
            found, status, used = os.wait4(child, os.WNOHANG)
            time.sleep(0.002)
        if not found:
            os.kill(child, signal.SIGKILL)
            found, status, used = os.wait4(child, 0)
        said.seek(0)
        text = said.read().decode(errors="replace")
    code = os.waitstatus_to_exitcode(status)
    print(json.dumps([code, time.monotonic() - begun, used.ru_maxrss >> 10, text]), flush=True)
"""


class Ended(NamedTuple):
    """An exit code (negative: the signal that ended it), seconds, MiB at most, and stderr."""

    code: int
    seconds: float
    peak: int
    err: str


def run_apart(commands: Sequence[Sequence[str]], *, folder: Path, first: str = "") -> list[Ended]:
    """Run each command's arguments in `folder`, one after the other.

    first: a statement to begin with, as an import that many of them need.
    """
    done = subprocess.run(
        [sys.executable, "-c", f"{first}\n{CODE}"],
        input="".join(f"{json.dumps(list(map(str, command)))}\n" for command in commands),
        capture_output=True,
        text=True,
        cwd=folder,
        check=True,
    )
    return [Ended(*json.loads(line)) for line in done.stdout.splitlines()]
