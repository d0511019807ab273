"""index.h5 -> index.lists.h5: where to look in an index too large to compare every item"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..artifacts.manifest import Manifest
from ..artifacts.run import Run, writing_stage
from ..errors import BadInput
from ..hdf5 import reading, writing
from ..neighbours.inverted_lists import MEASURED, SHARE, InvertedLists, inverted_lists
from ..progress import Progress, Silent
from .early import INDEX

if TYPE_CHECKING:
    from ..gallery.index import GalleryIndex
    from .index import StoredIndex

ARTIFACT = "index.lists.h5"
MANY = 100_000  # items, from which on they are made


@writing_stage
def list_index(
    run: Run,
    stored: "StoredIndex",
    *,
    seed: int = 0,
    progress: Progress = Silent(),
) -> "StoredIndex":
    """Return an opened index with its lists: those of the file where they are its, or else made.

    Of the refined rows, which are ranked, and of those before refinement, which tell strangers and
    which an NFormer without a closed form reads.

    Raises:
        BadInput: FAISS cannot be imported.
    """
    manifest = stored.manifest
    settings = {"share": SHARE, "neighbours": MEASURED, "seed": seed}
    wanted = Manifest(ARTIFACT, "serve", settings, {INDEX: manifest.sha256})
    if run.holds(wanted):
        return _with(stored, _read(run))
    run.claim()
    index = stored.index
    progress.message(f"{len(index):,} items: lists are made, to look through the nearest ones")
    found = {"rows": inverted_lists(np.asarray(index.rows), progress=progress)}
    if index.plain is not index.rows:
        found["plain"] = inverted_lists(np.asarray(index.plain), progress=progress)
    with run.writing(wanted) as (path, facts):
        facts.update(recall={name: round(one.recall, 4) for name, one in found.items()})
        with writing(path) as file:
            for name, lists in found.items():
                for key, array in lists.arrays().items():
                    file.create_dataset(f"{name}/{key}", data=array)
    return _with(stored, found)


def _read(run: Run) -> dict[str, InvertedLists]:
    remedy = "remove it, and it is made again"
    with reading(run.path(ARTIFACT), remedy=remedy) as file:
        return {
            name: InvertedLists.of({key: group[key][()] for key in group})
            for name, group in file.items()
        }


def _with(stored: "StoredIndex", lists: Mapping[str, InvertedLists]) -> "StoredIndex":
    index: GalleryIndex = replace(stored.index, lists=lists)
    np.asarray(index.rows)  # read once: a query would wait for the parts that it touches first
    np.asarray(index.plain)
    return replace(stored, index=index)


def listed(
    run: Run, stored: "StoredIndex", *, least: int = MANY, progress: Progress = Silent()
) -> "StoredIndex":
    """Return an opened index with its lists, or as it is: small, or where FAISS is not there."""
    if len(stored.index) <= least:
        return stored
    try:
        return list_index(run, stored, progress=progress)
    except BadInput as error:
        progress.warn(f"every item is compared: {error}")
        return stored
