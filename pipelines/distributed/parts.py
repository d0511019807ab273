"""An array in files, one for each part of its rows, and the steps that write such arrays."""

import functools
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files import sealed, sealed_files, sealing
from ..progress import Progress
from .workers import Workers

Arrays = dict[str, np.ndarray]
Step = Callable[..., Arrays]


@dataclass
class Meter:
    """Counts the bytes of arrays in files that this process has read."""

    bytes: int = 0


METER = Meter()


@dataclass(frozen=True)
class Parts:
    """An array [N, ...] in files.

    paths: of the parts, in order.   ends: [P], the row behind each part's last one.
    """

    paths: tuple[Path, ...]
    ends: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of rows N."""
        return self.ends[-1] if self.ends else 0

    @property
    def width(self) -> int:
        """The number of columns, of an array [N, d]."""
        return int(_mapped(self.paths[0]).shape[1])

    def rows_of(self, part: int) -> slice:
        """Return the rows that a part holds."""
        return slice(self.ends[part - 1] if part else 0, self.ends[part])

    def numbers_of(self, part: int) -> np.ndarray:
        """Return the numbers of the rows of a part."""
        rows = self.rows_of(part)
        return np.arange(rows.start, rows.stop)

    def part(self, number: int) -> np.ndarray:
        """Return a part, mapped into memory; it is not to be written to."""
        found = _mapped(self.paths[number])
        METER.bytes += found.nbytes
        return found

    @property
    def only(self) -> np.ndarray:
        """The only part, of an array that is looked up again and again; it does not count."""
        return _mapped(self.paths[0])

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the parts in order."""
        return map(self.part, range(len(self.paths)))

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return rows by their numbers: [M] int64 -> [M, ...]."""
        first = _mapped(self.paths[0])
        found = np.empty((len(rows), *first.shape[1:]), first.dtype)
        part_of = np.searchsorted(self.ends, rows, side="right")
        for number in np.unique(part_of):
            mine = part_of == number
            found[mine] = _mapped(self.paths[number])[rows[mine] - self.rows_of(number).start]
        METER.bytes += found.nbytes
        return found


@functools.lru_cache(maxsize=256)
def _mapped(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="c", allow_pickle=False)  # "c": what torch may wrap


@dataclass(frozen=True)
class Cost:
    """What some tasks took: bytes read, processor seconds, and the most memory of a process."""

    bytes: int = 0
    seconds: float = 0.0
    peak: int = 0

    def __str__(self) -> str:
        return (
            f"tasks read {self.bytes / 1e9:.3g} GB and took {self.seconds:,.0f} s of processors; "
            f"the largest worker had {self.peak >> 20:,} MiB"
        )

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.bytes + other.bytes,
            self.seconds + other.seconds,
            max(self.peak, other.peak),
        )


@dataclass(frozen=True, eq=False)
class Steps:
    """Runs steps on the parts of a set; what an interrupted command finished is not made again.

    folder: where their arrays are.   ends: [P], of the set's parts.   costs: of each step, by name.
    """

    workers: Workers
    folder: Path
    ends: tuple[int, ...]
    progress: Progress
    costs: dict[str, Cost]

    def run(
        self,
        step: Step,
        name: str,
        *,
        gives: Sequence[str],
        ends: tuple[int, ...] | None = None,
        **given: Any,
    ) -> dict[str, Parts]:
        """Run `step(part, **given)` for every part; return the arrays that it gives, by name.

        step: a function of a module: a worker imports it.
        name: of the step, and of the folder of its arrays.
        ends: of another set's parts, where the step goes over these.
        """
        ends = self.ends if ends is None else ends
        paths = {part: self._finished(name, gives, part=part) for part in range(len(ends))}
        left = [part for part, found in paths.items() if found is None]
        common = {"step": step, "folder": self.folder / name, "given": given}
        calls = [{**common, "part": part} for part in left]
        with self.progress.task(name.replace("-", " "), len(ends), unit="parts") as task:
            task.skip(len(ends) - len(left))
            for done, (made, cost) in self.workers.run(work, calls):
                paths[left[done]] = made
                self.costs[name] = self.costs.get(name, Cost()) + cost
                task.advance()
        found = [paths[part] or {} for part in range(len(ends))]
        return {array: Parts(tuple(one[array] for one in found), ends) for array in gives}

    def _finished(self, name: str, gives: Sequence[str], *, part: int) -> dict[str, Path] | None:
        """Return the files of a part that an earlier command finished, or None."""
        found = {}
        for array in gives:
            path = sealed(path_of(self.folder / name, array, part=part))
            if path is None:
                return None
            found[array] = path
        return found


def work(
    step: Step, *, folder: Path, part: int, given: dict[str, Any]
) -> tuple[dict[str, Path], Cost]:
    """Run a step on a part, in a worker; return the files of what it gave, and what it took."""
    before, begun = METER.bytes, time.process_time()
    written = {}
    for array, rows in step(part, **given).items():
        path = path_of(folder, array, part=part)
        with sealing(path) as temporary, temporary.open("wb") as file:
            np.save(file, rows, allow_pickle=False)
        written[array] = sealed_files(path)[-1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return written, Cost(METER.bytes - before, time.process_time() - begun, peak)


def path_of(folder: Path, array: str, *, part: int) -> Path:
    """Return the path that a part of an array is sealed under."""
    return folder / f"{array}-{part:05}.npy"
