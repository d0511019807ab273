"""Random generators, each made from a seed and a name."""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


def derived_seed(seed: int, *name: str | int) -> int:
    """Return a 63-bit seed for one named use, independent of every other name's.

    `derived_seed(0, "landmarks", 3)` stays the same on every machine and Python version.
    """
    key = "/".join(map(str, (seed, *name))).encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "little") >> 1


def torch_generator(seed: int, *name: str | int) -> "torch.Generator":
    """Return a CPU generator for one named use. Draw there, then move: the same on every device."""
    import torch

    return torch.Generator().manual_seed(derived_seed(seed, *name))


def numpy_generator(seed: int, *name: str | int) -> "np.random.Generator":
    """Return a numpy generator for one named use."""
    import numpy as np

    return np.random.default_rng(derived_seed(seed, *name))
