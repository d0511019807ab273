"""Write a file whole or not at all, and name its content by a digest."""

import errno
import hashlib
import io
import os
import re
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from logging import getLogger
from pathlib import Path
from typing import Any

from .errors import BadInput

LOG = getLogger("nformer")
HOST = re.sub("[^A-Za-z0-9-]+", "-", socket.gethostname())[:40]
FULL = {errno.ENOSPC: "no space left on the disk", errno.EDQUOT: "no space left for this user"}
FULL[errno.EFBIG] = "a file may not become so large here"
LONGEST_NAME = 255  # bytes, on nearly every file system
_numbers, _ours = count(), set[Path]()  # of temporary files; those that are being written


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block succeeds, flush it and rename it there.

    When the block fails, the temporary file is removed and `path` stays as it was.
    A process killed inside leaves `.NAME.HOST.PID.N.tmp`, which the next writer there removes.
    Where `path` is such a temporary path itself, it is written as it is.

    Raises:
        BadInput: the disk is full or the folder cannot be written; nothing was changed.
    """
    if path in _ours:
        yield path
        return
    with temporary_beside(path) as temporary:
        yield temporary
        _put(temporary, path)


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and take away what is left of it at the end."""
    with named_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_left_over(path.parent)
        ending = f".{HOST}.{os.getpid()}.{next(_numbers)}.tmp"
        name = path.name
        if len(os.fsencode(f".{name}{ending}")) > LONGEST_NAME:
            name = text_digest(name)[:16]
        temporary = path.with_name(f".{name}{ending}")
    _ours.add(temporary)
    try:
        with named_disk_errors(path):
            yield temporary
    finally:
        _ours.discard(temporary)
        _remove(temporary)


def remove_left_over(folder: Path) -> None:
    """Remove the temporary files in a folder whose writers, on this machine, have been killed."""
    for left in folder.glob(".*.tmp"):
        host, pid = (["", "", *left.name.split(".")])[-4:-2]
        if host == HOST and pid.isdecimal() and left not in _ours and not _alive(int(pid)):
            _remove(left)


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it is there and may be removed."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


class Sink(io.RawIOBase):
    """A file for libraries that a failed write would crash: it fails at the end, in `writing_to`.

    HDF5 ends the process where its last flush fails, and torch.save hides the reason. What cannot
    be written is dropped here and read as zeros; the first problem is kept.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.open("w+b", buffering=0)
        self.problem: BaseException | None = None

    def write(self, content: Any) -> int:
        """Write all of it, or keep why not."""
        left = memoryview(content).cast("B")
        size = len(left)
        try:
            while left:
                left = left[self.file.write(left) :]
        except BaseException as error:  # of a signal too: nothing may pass through the library
            self.problem = self.problem or error
            self.file.seek(len(left), os.SEEK_CUR)
        return size

    def readinto(self, buffer: Any) -> int:
        """Fill all of a buffer, with zeros where nothing was written."""
        view = memoryview(buffer).cast("B")
        found = self.file.readinto(view) or 0
        view[found:] = bytes(len(view) - found)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Cut or extend the file, or keep why not."""
        try:
            return self.file.truncate(size)
        except OSError as error:
            self.problem = self.problem or error
            return size or 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, which may be beyond the end."""
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self.file.tell()


@contextmanager
def writing_to(path: Path) -> Iterator[Sink]:
    """Yield a file that swallows its first problem, which is raised at the end of the block."""
    with named_disk_errors(path):
        sink = Sink(path)
        try:
            yield sink
        finally:
            sink.file.close()
            if sink.problem is not None:
                raise sink.problem


def _put(temporary: Path, path: Path) -> None:
    """Flush a finished file and rename it."""
    _flush(temporary)
    os.replace(temporary, path)
    _flush(path.parent)


@contextmanager
def sealing(path: Path) -> Iterator[Path]:
    """As `replacing`, but the file's name gets the digest of its content: NAME.SHA256.ENDING.

    For what an interrupted stage goes on from: see `sealed`.
    """
    with temporary_beside(path) as temporary:
        yield temporary
        found = path.with_name(f"{path.stem}.{file_digest(temporary)}{path.suffix}")
        _put(temporary, found)
    for older in sealed_files(path):
        if older != found:
            older.unlink(missing_ok=True)


def sealed(path: Path) -> Path | None:
    """Return the file that `sealing(path)` wrote, or None where there is none.

    One whose content is no longer what its name says is removed, with a warning.
    """
    whole = None
    for found in sealed_files(path):
        if found.name.split(".")[-2] == file_digest(found):
            whole = found
        else:
            LOG.warning("%s is damaged: it is dropped, and that part is made again", found)
            found.unlink()
    return whole


def sealed_files(path: Path) -> list[Path]:
    """Return the files sealed under a name, the latest last."""
    found = path.parent.glob(f"{path.stem}.{'[0-9a-f]' * 64}{path.suffix}")
    return sorted(found, key=lambda one: one.stat().st_mtime_ns)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def named_disk_errors(path: Path) -> Iterator[None]:
    """Turn the system's complaints while `path`, a file or a folder, is written into BadInput."""
    try:
        yield
    except OSError as error:
        if path in _ours:
            raise  # to who asked for this temporary path, and knows what it is for
        texts = {"No space left": errno.ENOSPC, "File too large": errno.EFBIG}  # of libraries
        told = next((code for text, code in texts.items() if text in str(error)), error.errno)
        if told in FULL:
            raise BadInput(
                f"{FULL[told]} while writing {path}; the earlier file, if there was "
                "one, is untouched. Free some space and run the same command again"
            ) from error
        if error.strerror is None:
            raise
        named = isinstance(error.filename, str) and Path(error.filename) not in _ours
        where = Path(error.filename) if named else path
        forbidden = error.errno in (errno.EACCES, errno.EROFS, errno.EPERM)
        if forbidden and (path in (where, *where.parents) or where in path.parents):
            if os.path.exists(where) and not os.access(where, os.R_OK):  # Path.exists raises
                raise BadInput(f"{where} cannot be read: {error.strerror}") from error
            raise BadInput(
                f"{where} cannot be written: {error.strerror}; choose another folder (--run DIR)"
            ) from error
        raise BadInput(f"{where}: {error.strerror}") from error


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return pid != os.getpid()  # ours: of an earlier process with our number


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def no_file(path: Path) -> str:
    """Return what a path is instead of a regular file ("is not there", "is a folder"…), or ""."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "is a link that leads nowhere" if path.is_symlink() else "is not there"
    except (OSError, ValueError) as error:  # a circle of links, a name too long, a NUL in it
        return f"cannot be opened ({getattr(error, 'strerror', None) or error})"
    return "" if stat.S_ISREG(mode) else f"is {KINDS.get(stat.S_IFMT(mode), 'something else')}"


def require_file(path: Path, what: str) -> None:
    """Raise BadInput unless a path is a regular file: opening anything else may never end."""
    found = no_file(path)
    if found:
        raise BadInput(f"{path} {found}; {what} is wanted")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_digest(*lines: str) -> str:
    """Return the SHA-256 of some lines."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()
