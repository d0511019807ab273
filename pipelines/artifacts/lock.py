"""One writer a run: who comes second waits and looks again, or is told who is at work."""

import fcntl
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from ..errors import BadInput
from ..files import named_disk_errors

LOCK = ".lock"
PATIENCE = 120.0  # seconds
PAUSE = 0.05
Result = TypeVar("Result")
_turns = threading.local()


class Waited(Exception):  # no error: it never leaves this file
    """Another writer was waited for: what was looked at before is not so any more."""


class Turn:
    """What a thread does in a folder, and the lock's descriptor once it writes there."""

    def __init__(self, folder: Path, purpose: str, *, warn: Callable[[str], None]) -> None:
        self.folder, self.purpose, self.warn = folder, purpose, warn
        self.held: int | None = None

    def claim(self, patience: float) -> None:
        """Take the lock, once; `Waited` where that took until another let it go."""
        if self.held is not None:
            return
        lock = self.folder / LOCK
        with named_disk_errors(lock):
            self.folder.mkdir(parents=True, exist_ok=True)
            self.held, waited = _taken(lock, patience=patience, warn=self.warn)
            left = _holder(lock)
            if left:
                self.warn(
                    f"an earlier writer of {self.folder} ended without finishing ({left}); every "
                    "file is as it was before"
                )
            with suppress(OSError):  # on a full disk the lock holds as well without a name
                os.ftruncate(self.held, 0)
                os.pwrite(self.held, _who(self.purpose).encode(), 0)
        if waited:
            raise Waited

    def end(self) -> None:
        """Let the next one in. The system does it for a process that ends, however it ends."""
        if self.held is not None:
            with suppress(OSError):
                (self.folder / LOCK).unlink(missing_ok=True)
            os.close(self.held)


def alone_in(
    folders: list[Path], work: Callable[[], Result], *, purpose: str, warn: Callable[[str], None]
) -> Result:
    """Do some work in which `claim` makes it the only writer of these folders, until its end.

    Where another writer had to be waited for the work starts again: it may be done by now.
    """
    with ExitStack() as stack:
        turns = [stack.enter_context(_turn(one, purpose, warn=warn)) for one in folders]
        while True:
            try:
                return work()
            except Waited:
                if not any(turns):
                    raise  # within other work, which starts again


def claim(folder: Path, *, patience: float = PATIENCE) -> bool:
    """Become the only writer of a folder or the one above it that a turn is for; False: no turn is.

    Raises:
        BadInput: another process still writes after `patience` seconds; names that process.
    """
    folder = folder.resolve()
    for place in (folder, *folder.parents):
        turn = _of_this_thread().get(place)
        if turn is not None:
            turn.claim(patience)
            return True
    return False


@contextmanager
def _turn(folder: Path, purpose: str, *, warn: Callable[[str], None]) -> Iterator[bool]:
    """Give this thread a turn in a folder; False where it has one already."""
    folder, turns = folder.resolve(), _of_this_thread()
    if any(place in turns for place in (folder, *folder.parents)):
        yield False
        return
    turns[folder] = Turn(folder, purpose, warn=warn)
    try:
        yield True
    finally:
        turns.pop(folder).end()


def _of_this_thread() -> dict[Path, Turn]:
    if not hasattr(_turns, "by_folder"):
        _turns.by_folder = {}
    found: dict[Path, Turn] = _turns.by_folder
    return found


def _taken(lock: Path, *, patience: float, warn: Callable[[str], None]) -> tuple[int, bool]:
    """Return the locked file's descriptor, and whether another was waited for."""
    end, waited = time.monotonic() + patience, False
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(lock, flags, 0o666)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise BadInput(f"{lock} is no file, so nothing can be written here; remove it")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        except OSError:  # a file system without locks
            return descriptor, waited
        else:
            with suppress(OSError):
                if os.path.samestat(os.fstat(descriptor), lock.stat()):
                    return descriptor, waited
            os.close(descriptor)  # its holder has ended and removed it meanwhile
            continue
        holder = _holder(lock) or "another process"
        if time.monotonic() >= end:
            raise BadInput(
                f"{lock.parent} is being written by {holder}, still after {patience:.0f} seconds; "
                "wait for it to finish, or end it: nothing is lost by that"
            )
        if not waited:
            warn(f"waiting for {holder}")
        waited = True
        time.sleep(PAUSE)


def _who(purpose: str) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return json.dumps(
        {"pid": os.getpid(), "host": socket.gethostname(), "purpose": purpose, "since": since}
    )


def _holder(lock: Path) -> str:
    """Return who the lock file names, or "" when it names nobody."""
    try:
        who = json.loads(lock.read_bytes()[:4096] or b"{}")
        pid, *rest = (str(who[key])[:80] for key in ("pid", "host", "purpose", "since"))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ""  # read while it was being written, or none of ours
    return "process {} on {}, {}, since {}".format(pid, *rest)
