"""Boxes of one frame are different people: rows that share a frame are kept apart."""

from collections.abc import Sequence

import numpy as np

from ..embeddings import Embeddings
from ..errors import BadInput
from .constraints import Constraints

NAME = "name"  # the column of rows' names: a box is called by its frame, #, and its pixels
BOX = "#"


def apart_in_frames(items: Embeddings, column: str, *, members: Sequence[str] = ()) -> Constraints:
    """Return that rows of one frame are different identities.

    column:  "name": what stands before # in the names of boxes; or a column of the embeddings, of
             whose equal values those of one camera are one frame.
    members: the names of the pictures that each row is made of, a line each: a tracklet lies in
             all of their frames.

    Raises:
        BadInput: there is no such column, or no two rows share a frame.
    """
    if column == NAME:
        lists = [text.split("\n") if text else [] for text in members] or [[]] * len(items)
        frames = [
            {name.rpartition(BOX)[0] or name for name in (several or [own]) if BOX in name}
            for own, several in zip(items.names, lists, strict=True)
        ]
        pairs = [(row, frame) for row, several in enumerate(frames) for frame in sorted(several)]
        rows = np.array([row for row, _ in pairs], np.int64)
        keys = np.array([frame for _, frame in pairs], str)
    elif column in items.columns:
        rows = np.flatnonzero(items.columns[column] >= 0)
        keys = np.array(
            [f"{items.camids[row]} {items.columns[column][row]}" for row in rows.tolist()], str
        )
    else:
        known = ", ".join((NAME, *items.columns))
        raise BadInput(f"--frames {column}: these rows have no such column; they have {known}")
    groups = np.unique(keys, return_inverse=True)[1] if len(keys) else rows
    shared = np.bincount(groups)[groups] > 1 if len(groups) else np.zeros(0, bool)
    if not shared.any():
        raise BadInput(
            f"--frames {column}: no two rows share a frame"
            + (f"; a box is named by its frame, {BOX} and its pixels" if column == NAME else "")
        )
    return Constraints(
        len(items), apart=rows[shared], group=np.unique(groups[shared], return_inverse=True)[1]
    )
