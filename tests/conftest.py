"""What the tests share: files outside the repository, and a recorder of progress."""

import os
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(os.environ.get("NFORMER_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Return the path of a file that lies beside the repository, or skip the test, saying so."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"{path} is not here (reference data lies beside the repository)")
        return path

    return find


@pytest.fixture
def golden(shared):
    """Return what the released code computes for a small NFormer, as tensors by name."""
    import torch  # many tests need none

    with np.load(shared("golden/nformer_small.npz")) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


class Recorder:
    """A `Progress` that remembers what it was told."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.warnings: list[str] = []
        self.counted: dict[str, int] = {}

    def message(self, text: str) -> None:
        self.messages.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    @contextmanager
    def task(self, title, total, *, unit=""):
        recorder = self
        self.counted[title] = 0

        class Counter:
            def advance(self, amount=1, **figures):
                recorder.counted[title] += amount

            def skip(self, amount):
                recorder.counted[title] += amount

        yield Counter()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()
