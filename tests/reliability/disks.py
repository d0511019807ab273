"""A full disk, and files that may not grow: one sentence, exit code 2, nothing lost or left."""

import ctypes
import os
import random
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from .commands import COMMANDS, Fork, Templates, command, left_over, whole_artifacts
from .counts import Counts

ROUNDS = 1  # in CI
SIZES, FEW = 12, 2  # of the disk; of the largest file where there is a disk to fill
PAGE = 4096
NEW_USER, NEW_MOUNTS, PRIVATE = 0x10000000, 0x00020000, 1 << 18 | 1 << 14  # of <linux/sched.h>
READ_ONLY, REMOUNT, BIND = 1, 32, 4096  # of <sys/mount.h>


def campaign(seed: int, deadline: float, *, templates: Templates, rounds: int | None = None):
    """Fill the disk of every command at `SIZES` sizes, and forbid it large files."""
    counts, chance, number = Counts(), random.Random(seed), 0
    ways = {limited: FEW, on_a_small_disk: SIZES}
    if not may_mount():
        ways = {limited: SIZES}
        counts.skipped = "full disks, for no disk may be mounted here; large files were forbidden"
    while number < rounds if rounds is not None else time.monotonic() < deadline:
        for name in COMMANDS:
            for way, sizes in ways.items():
                for part in range(sizes):
                    share = (part + chance.random()) / sizes
                    counts.add(f"{name}, {way.__name__}, {share:.3f}", way(name, templates, share))
        number += 1
    return counts


def limited(name: str, templates: Templates, share: float) -> str:
    """Run a command that may write files of so large a share of its largest; "" where it held."""
    place = templates.copy(name, "limited")
    after = (templates.folder / f"after {name}").rglob("*")
    limit = int(share * max(path.stat().st_size for path in after if path.is_file()))

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        command(name, place)

    return _ended(Fork(work), name, place)


def on_a_small_disk(name: str, templates: Templates, share: float) -> str:
    """Run a command on a disk with room for such a share of what it adds; "" where it held."""
    place = templates.place("disk")
    place.mkdir(parents=True, exist_ok=True)
    before, after = (templates.folder / f"{when} {name}" for when in ("before", "after"))
    room = _pages(before) + int(share * (_pages(after) - _pages(before) + 8))

    def work() -> None:
        mount(place, pages=room + 1)
        shutil.copytree(before, place, dirs_exist_ok=True)
        fork = Fork(lambda: command(name, place))
        problem = _ended(fork, name, place)
        if problem:
            print(problem)
            sys.exit(3)

    ended = Fork(work).end()
    return ended.problem(0)


def _ended(fork: Fork, name: str, place: Path) -> str:
    return fork.end().problem(0, 2) or whole_artifacts(place) or left_over_files(place)


def left_over_files(place: Path) -> str:
    """Return what is left of an unfinished command but what it may go on from, or ""."""
    if (place / "run" / ".unfinished").is_dir():
        temporary = [path.name for path in place.rglob(".*.tmp")]
        return ", ".join(temporary)
    return left_over(place)


def mount(place: Path, *, pages: int) -> None:
    """Put a small disk at a place, for this process and its forks alone."""
    _mounted(b"tmpfs", place, b"tmpfs", 0, f"size={pages * PAGE}".encode())


def forbid_writing(place: Path) -> None:
    """Make a folder a disk that can only be read, for this process and its forks alone."""
    _mounted(os.fsencode(place), place, None, BIND, None)
    _mounted(None, place, None, BIND | REMOUNT | READ_ONLY, None)


def _mounted(source: bytes | None, place: Path, *how: Any) -> None:
    library, user = ctypes.CDLL(None, use_errno=True), (os.getuid(), os.getgid())
    if library.unshare(NEW_MOUNTS | (NEW_USER if user[0] else 0)):
        raise OSError(ctypes.get_errno(), "unshare")
    if user[0]:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user[0]} 1")
        Path("/proc/self/gid_map").write_text(f"0 {user[1]} 1")
    if library.mount(b"none", b"/", None, PRIVATE, None) or library.mount(
        source, os.fsencode(place), *how
    ):
        raise OSError(ctypes.get_errno(), "mount")


def may_mount() -> bool:
    """Return whether this machine lets us mount a small disk."""
    place = Path("/tmp") if Path("/tmp").is_dir() else Path.cwd()
    return Fork(lambda: mount(place, pages=4)).end().code == 0


def _pages(folder: Path) -> int:
    return sum(-(-path.stat().st_size // PAGE) for path in folder.rglob("*") if path.is_file())
