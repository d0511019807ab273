"""Import heavy libraries quickly."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Look for no garbage while libraries load, nor among what they made ever after.

    They stay to the end: looking through them again and again takes a fifth of what `import torch`
    does, and as long once more when the process ends.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
