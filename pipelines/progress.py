"""The interface through which a stage reports its progress; the caller decides what to show."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One counted piece of work."""

    def advance(self, amount: int = 1, **figures: float | str) -> None:
        """Count `amount` more as done; `figures` (loss=…, epoch=…) stand beside the bar."""

    def skip(self, amount: int) -> None:
        """Count `amount` as done by an earlier, interrupted command: no rate is made of it."""


class Progress(Protocol):
    """Receives a stage's messages and counts. The command line draws them; tests record them."""

    def message(self, text: str) -> None:
        """Say one thing worth knowing."""

    def warn(self, text: str) -> None:
        """Say one thing that the user should look at."""

    def task(
        self, title: str, total: int | None, *, unit: str = ""
    ) -> AbstractContextManager[Task]:
        """Begin a counted piece of work: `with progress.task("embed", 592, "images") as task:`."""


class _SilentTask:
    def advance(self, amount: int = 1, **figures: float | str) -> None:
        pass

    def skip(self, amount: int) -> None:
        pass


class Silent:
    """A `Progress` that nobody listens to: the library's default."""

    def message(self, text: str) -> None:
        """Discard the message."""

    def warn(self, text: str) -> None:
        """Discard the warning."""

    @contextmanager
    def task(self, title: str, total: int | None, *, unit: str = "") -> Iterator[Task]:
        """Count nothing."""
        yield _SilentTask()
