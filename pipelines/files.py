"""Write a file whole or not at all, and name its content by a digest."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path

from .errors import BadInput

LOG = getLogger("nformer")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block succeeds, flush it and rename it there.

    When the block fails, the temporary file is removed and `path` stays as it was.
    A process killed inside leaves `.NAME.PID.tmp`, which the next writer of NAME removes.

    Raises:
        BadInput: the disk is full or the folder cannot be written; nothing was changed.
    """
    with temporary_beside(path) as temporary:
        yield temporary
        _put(temporary, path)


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and take away what is left of it at the end."""
    with named_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_over(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


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
    for older in _sealed_files(path):
        if older != found:
            older.unlink(missing_ok=True)


def sealed(path: Path) -> Path | None:
    """Return the file that `sealing(path)` wrote, or None where there is none.

    One whose content is no longer what its name says is removed, with a warning.
    """
    whole = None
    for found in _sealed_files(path):
        if found.name.split(".")[-2] == file_digest(found):
            whole = found
        else:
            LOG.warning("%s is damaged: it is dropped, and that part is made again", found)
            found.unlink()
    return whole


def _sealed_files(path: Path) -> list[Path]:
    """Return the files sealed under a name, the latest last."""
    found = path.parent.glob(f"{path.stem}.{'[0-9a-f]' * 64}{path.suffix}")
    return sorted(found, key=lambda one: one.stat().st_mtime_ns)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def named_disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden folder, met while writing `path`, into BadInput."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            raise BadInput(
                f"no space left on the disk while writing {path}; the earlier file, if there was "
                "one, is untouched. Free some space and run the same command again"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise BadInput(
                f"{path} cannot be written: {error.strerror}; choose another --run"
            ) from error
        raise


def _remove_left_over(path: Path) -> None:
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        pid = left.name.rsplit(".", 2)[-2]
        if not (pid.isdigit() and _alive(int(pid))):
            left.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


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
