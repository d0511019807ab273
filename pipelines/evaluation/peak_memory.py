"""The largest resident memory of this process, over its life or since a moment."""

import resource
import sys
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_rss_mib() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


class PeakMemory:
    """The largest resident memory since `restart`, where the system can tell (Linux)."""

    def restart(self) -> None:
        """Begin anew; where that is not possible, the peak stays that of the whole process."""
        try:
            RESET.write_text("5")
        except OSError:
            return

    def mib(self) -> float:
        """Return the peak since then in MiB."""
        if STATUS.exists():
            for line in STATUS.read_text().splitlines():
                if line.startswith("VmHWM"):
                    return int(line.split()[1]) / 1024
        return peak_rss_mib()
