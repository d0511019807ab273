"""The largest resident memory of this process, over its life or since a moment."""

import resource
import sys
from contextlib import suppress
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_rss_mib() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


class PeakMemory:
    """The largest resident memory since `restart`, where the system can tell (Linux)."""

    def __init__(self) -> None:
        self.held = 0.0

    def restart(self) -> None:
        """Begin anew; where that is not possible, the peak stays that of the whole process."""
        with suppress(OSError):
            RESET.write_text("5")
        self.held = _status("VmRSS") or 0.0

    def mib(self) -> float:
        """Return the peak since then in MiB."""
        return _status("VmHWM") or peak_rss_mib()

    def added_mib(self) -> float:
        """Return by how much that is more than the process held then."""
        return max(0.0, self.mib() - self.held)


def _status(name: str) -> float | None:
    """Return a figure of this process's status in MiB, where the system has it."""
    if not STATUS.exists():
        return None
    found = [line for line in STATUS.read_text().splitlines() if line.startswith(name)]
    return int(found[0].split()[1]) / 1024 if found else None
