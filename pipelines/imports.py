"""Import heavy libraries quickly."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing(library: str) -> Iterator[None]:
    """Look for no garbage while a library loads for the first time, nor among what is there then.

    It stays to the end: looking through it takes a fifth of what `import torch` does, as long
    again in what follows, and once more when the process ends.
    """
    if library in sys.modules:
        yield
        return
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
