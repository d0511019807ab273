"""Run one measurement in a process of its own, so that its peak memory is its own."""

import json
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import PipelineError
from ..evaluation.peak_memory import peak_rss_mib


def measured(module: str, case: str, **arguments: Any) -> dict[str, Any]:
    """Run `case(**arguments)` of a benchmark module in a fresh process.

    returns: its figures, with `rss` and `start`, the process's peak of resident memory and what
    it had after its imports, in MiB.

    Raises:
        PipelineError: the process failed; says its last line.
    """
    call = json.dumps([module, case, arguments])
    root = str(Path(__file__).parents[2])
    program = f"import sys; sys.path.insert(0, {root!r}); from {__name__} import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], input=call, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise PipelineError(f"the measurement {case} {arguments} failed: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Read one call from stdin, make it, and write its figures to stdout."""
    module, case, arguments = json.loads(sys.stdin.read())
    figures = getattr(import_module(f".{module}", __package__), case)(**arguments)
    print(json.dumps({"rss": peak_rss_mib(), **figures}))


class Timer:
    """Seconds of a block: `with Timer() as timer: …; timer.seconds`."""

    seconds = 0.0

    def __enter__(self) -> "Timer":
        self._begun = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._begun


class MemoryWatch:
    """The highest private memory during a block, in MiB, without the pages of shared libraries."""

    def __init__(self) -> None:
        self.mib, self._ended = 0.0, threading.Event()

    def __enter__(self) -> "MemoryWatch":
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.mib = max(self.mib, private_memory())
            if self._ended.wait(0.01):
                return


def private_memory() -> float:
    """Return this process's resident memory that is no file's, in MiB (Linux; else the peak)."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1024
    return peak_rss_mib()
