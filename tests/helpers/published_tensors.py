"""Names and shapes of published checkpoints' tensors, written down from their authors' own models.

tests/backbones/published/tensors/ARCH.txt has lines as `layer1.[0-2].bn1.{weight,bias} 64`, which
is six tensors of shape (64,); a scalar's shape is `-`.
"""

import re
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "backbones" / "published" / "tensors"


def shapes_of(arch: str) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of every tensor in a network's published checkpoint."""
    return expanded((FOLDER / f"{arch.replace(':', '_')}.txt").read_text())


def expanded(text: str) -> dict[str, tuple[int, ...]]:
    found = {}
    for line in text.splitlines():
        name, shape = line.split()
        sizes = () if shape == "-" else tuple(int(size) for size in shape.split("x"))
        parts = re.split(r"(\[\d+-\d+\]|\{[^}]*\})", name)
        for choice in product(*map(_choices, parts)):
            found["".join(choice)] = sizes
    return found


def _choices(part: str) -> list[str]:
    if part.startswith("["):
        first, last = part[1:-1].split("-")
        return [str(number) for number in range(int(first), int(last) + 1)]
    return part[1:-1].split(",") if part.startswith("{") else [part]


def numbered(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return tensors of these shapes, each full of a number of its own, in next to no memory."""
    return {
        name: torch.tensor(float(place)).expand(shape)
        for place, (name, shape) in enumerate(shapes.items(), start=1)
    }
