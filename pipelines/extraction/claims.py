"""Who makes which part of a shared extraction: a part is one process's for as long as it lives."""

import fcntl
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from ..files import named_disk_errors

LEASE = 60.0  # seconds after which a process that gives no sign of life has lost its parts
BEAT = 10.0  # seconds between two signs of life
MUTEX, ENDING = "claims.lock", ".claim"


class Gone(Exception):  # no error: it never leaves the extraction
    """The folder was removed: another process has put the parts together."""


class Claims:
    """The parts in a folder that this process makes; to be used in `with`.

    A claim is a file NAME.claim with host and process. Its holder touches it every `BEAT` seconds.
    It ends with the process on the same machine, and after `LEASE` seconds without a touch on any.
    Where a file system has no locks, two processes may make the same part: it is the same file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mine: set[Path] = set()
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="claims", daemon=True)

    def __enter__(self) -> "Claims":
        self._beating.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._beating.join()
        for path in self.mine:
            path.unlink(missing_ok=True)

    def take(self, name: str) -> bool:
        """Claim a part; False where a living process has it.

        Raises:
            Gone: the folder is not there any more.
        """
        path = self.folder / f"{name}{ENDING}"
        with exclusive(self.folder) as now:
            if path.exists() and holder(path, now):
                return path in self.mine
            path.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
        self.mine.add(path)
        return True

    def release(self, name: str) -> None:
        """Give a part back: it is finished."""
        path = self.folder / f"{name}{ENDING}"
        self.mine.discard(path)
        path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            for path in tuple(self.mine):
                with suppress(OSError):
                    os.utime(path)


@contextmanager
def exclusive(folder: Path) -> Iterator[float]:
    """Be the only process that looks at a folder's claims; yield the time on its file system.

    Raises:
        Gone: the folder is not there any more.
    """
    path = folder / MUTEX
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except FileNotFoundError:
        raise Gone from None
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not folder.exists():
            raise Gone
        with named_disk_errors(path):
            os.utime(descriptor)
            yield os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)


def holder(path: Path, now: float) -> str:
    """Return the living process that has a claim, in words; "" where none has."""
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
        host, pid = str(who["host"]), int(who["pid"])
        silent = now - path.stat().st_mtime
    except (OSError, ValueError, TypeError, KeyError):
        return ""
    if silent > LEASE or (host == socket.gethostname() and not _lives(pid)):
        return ""
    return f"process {pid} on {host}"


def holders(folder: Path, now: float) -> list[str]:
    """Return the living processes that have claims in a folder, each once."""
    found = (holder(path, now) for path in sorted(folder.glob(f"*{ENDING}")))
    return list(dict.fromkeys(one for one in found if one))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
