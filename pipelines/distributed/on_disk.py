"""Rows that the first process keeps in files, mapped into memory, and not in memory."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..embeddings import Embeddings, row_blocks
from ..errors import BadInput
from ..gallery.refinement import prepare
from ..nformer.model import NFormer

BLOCK_ROWS = 1 << 16  # rows in memory at once


def room_for(path: Path, *shape: int) -> np.ndarray:
    """Return a new array of float32 in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # an array that is still in use keeps its file
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)


def prepared(model: NFormer, sets: Sequence[tuple[Embeddings, str]], *, path: Path) -> Tensor:
    """Return the rows of some sets, one after another, as `prepare` gives them: [N, d].

    sets: embeddings, and what they are called where they are refused.
    """
    found = room_for(path, sum(len(items) for items, _ in sets), model.dim)
    start = 0
    for items, what in sets:
        for some in row_blocks(len(items), BLOCK_ROWS):
            try:
                rows = prepare(model, items.features[some], what=what)
            except BadInput:
                prepare(model, items.features, what=what)  # which names rows by their numbers
                raise
            found[start : start + len(rows)] = rows.numpy()
            start += len(rows)
    return torch.from_numpy(found)


def in_blocks(change: Callable[..., Tensor], *arrays: Tensor, path: Path) -> Tensor:
    """Return what a function makes of rows [N, d] and what goes with them, block by block."""
    found = room_for(path, *arrays[0].shape)
    for some in row_blocks(len(found), BLOCK_ROWS):
        found[some] = change(*(array[some] for array in arrays)).numpy()
    return torch.from_numpy(found)
