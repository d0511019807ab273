"""Read results one step late, so that the device never waits for the program."""

from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


def one_behind(updates: Iterator[T]) -> Iterator[T]:
    """Yield each item only after the next one has been made, and the last at the end.

    Reading a device's result waits for it; one step later it has long been ready.
    """
    waiting: list[T] = []
    for update in updates:
        waiting.append(update)
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting
