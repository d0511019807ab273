"""Let one process at a time write a file; a second one is told who holds the lock."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import BadInput

PATIENCE = 120.0  # seconds
PAUSE = 0.05


@contextmanager
def only_writer(
    path: Path, *, purpose: str, patience: float = PATIENCE, warn: Callable[[str], None]
) -> Iterator[None]:
    """Hold the lock of `path` (`path`.lock) while the block runs; wait while another holds it.

    The system lets go of the lock when its process ends, however it ends; what a killed writer
    left in the lock file is recognised and said.

    Raises:
        BadInput: another process still holds it after `patience` seconds; names that process.
    """
    lock = path.with_name(f"{path.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+", encoding="utf-8") as file:
        _wait(file.fileno(), lock, patience=patience, warn=warn)
        left = _holder(lock)
        if left:
            warn(
                f"an earlier writer of {path} ended without finishing ({left}); the file is as it "
                "was before"
            )
        _write(file.fileno(), _who(purpose))
        try:
            yield
        finally:
            _write(file.fileno(), "")  # the file stays: removing it would let two hold two locks


def _wait(descriptor: int, lock: Path, *, patience: float, warn: Callable[[str], None]) -> None:
    end, told = time.monotonic() + patience, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(lock) or "another process"
            if time.monotonic() >= end:
                raise BadInput(
                    f"{lock} is held by {holder} after {patience:.0f} seconds; wait for it to "
                    "finish, or end it: nothing is lost by that"
                ) from None
            if not told:
                warn(f"waiting for {holder}")
                told = True
            time.sleep(PAUSE)
        else:
            return


def _who(purpose: str) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return json.dumps(
        {"pid": os.getpid(), "host": socket.gethostname(), "purpose": purpose, "since": since}
    )


def _holder(lock: Path) -> str:
    """Return who the lock file names, or "" when it names nobody."""
    try:
        who = json.loads(lock.read_text(encoding="utf-8") or "{}")
    except ValueError:  # read while it was being written
        return ""
    if not isinstance(who, dict) or "pid" not in who:
        return ""
    return f"process {who['pid']} on {who['host']}, {who['purpose']}, since {who['since']}"


def _write(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)
