"""Which rows make a part: rows near each other, so that few neighbours lie in other parts."""

import numpy as np

from ..neighbours.faiss_indexes import list_count
from ..neighbours.ivf import nearest_centres
from ..neighbours.nearest import cluster_centres, faiss_module

MOST_LISTS = 1024  # clusters that parts are put together from
ROWS = 100_000  # of a part, where no number of parts is asked for


def parts_wanted(rows: int, *, workers: int, asked: int = 0) -> int:
    """Return the number of parts of a set: as asked, or one for each worker, or more."""
    return min(asked or max(workers, -(-rows // ROWS)), rows)


def ends_of(rows: int, parts: int) -> tuple[int, ...]:
    """Return the row behind the last one of each of several parts of nearly the same size."""
    return tuple(rows * (part + 1) // parts for part in range(parts))


def order_by_place(rows: np.ndarray, parts: int) -> np.ndarray:
    """Return an order of unit rows [N, d] in which rows near each other stand together: [N].

    The centres of k-means clusters are halved again and again across the direction in which they
    differ most. Without FAISS, or for one part, the rows stay as they are.
    """
    lists = min(list_count(len(rows)), MOST_LISTS)
    if parts == 1 or lists < 2 * parts or faiss_module() is None:
        return np.arange(len(rows))
    centres = cluster_centres(rows, lists)
    list_of = nearest_centres(rows, centres, count=1)[:, 0]
    sizes = np.bincount(list_of, minlength=lists)
    place = np.empty(lists, np.int64)
    place[halved(centres, sizes=sizes, lists=np.arange(lists))] = np.arange(lists)
    return np.argsort(place[list_of], kind="stable")


def halved(centres: np.ndarray, *, sizes: np.ndarray, lists: np.ndarray) -> np.ndarray:
    """Return lists [L] in an order in which neighbours are near: [L].

    centres: [C, d].   sizes: [C], the rows of each list.
    """
    if len(lists) < 3:
        return lists
    apart = centres[lists] - centres[lists].mean(axis=0)
    along = apart @ np.linalg.svd(apart, full_matrices=False)[2][0]  # the first principal component
    lists = lists[np.argsort(along, kind="stable")]
    below = np.cumsum(sizes[lists])
    middle = int(np.clip(np.searchsorted(below, below[-1] / 2), 1, len(lists) - 1))
    halves = lists[:middle], lists[middle:]
    return np.concatenate([halved(centres, sizes=sizes, lists=half) for half in halves])
