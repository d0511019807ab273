"""Lists of a large set's rows by their nearest centre: a query looks through the nearest ones.

`ivf` makes such lists for one search of many rows. These are kept, and asked one query at a time.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..progress import Progress, Silent
from ..seeding import numpy_generator
from .exact import top_k
from .faiss_indexes import list_count
from .ivf import in_lists, lists_needed, nearest_centres, sampled
from .nearest import RECALL_SAMPLE, cluster_centres
from .reciprocity import nearest_of

if TYPE_CHECKING:
    from torch import Tensor

SHARE = 0.98  # of a sample's true neighbours that the lists looked through must hold
MEASURED = 20  # neighbours of which the recall is told


@dataclass(frozen=True, eq=False)
class InvertedLists:
    """A set's rows by list.

    centres: [C, d] float32, unit rows.   rows: [G] int64, row numbers, list after list.
    ends:    [C] int64, where each list ends in them.   probes: lists that a query looks through.
    recall:  the share of the true 20 nearest that were found, on a sample of the set's own rows.
    """

    centres: np.ndarray
    rows: np.ndarray
    ends: np.ndarray
    probes: int
    recall: float

    def __str__(self) -> str:
        return (
            f"{len(self.centres):,} lists, {self.probes} looked through: {self.recall:.3f} of the "
            f"{MEASURED} nearest are found"
        )

    def nearest(self, asking: "Tensor", keys: "Tensor", *, k: int) -> "tuple[Tensor, Tensor]":
        """Return nearly the k largest inner products of unit rows with the set's.

        asking: [Q, d].   keys: [G, d], the set.   returns: as `nearest_of`. A query whose lists
        hold fewer than k rows is compared with all.
        """
        import torch

        k = min(k, len(keys))
        values = asking.new_empty(len(asking), k)
        indices = torch.empty_like(values, dtype=torch.int64)
        near = nearest_of(asking, torch.from_numpy(self.centres), k=self.probes)[1]
        for query, lists in enumerate(near.tolist()):
            inside = torch.from_numpy(self.members(lists))
            one = asking[query : query + 1]
            if len(inside) < k:
                found = nearest_of(one, keys, k=k)
            else:
                value, place = nearest_of(one, keys[inside], k=k)
                found = value, inside[place]
            values[query], indices[query] = found[0][0], found[1][0]
        return values, indices

    def members(self, lists: list[int]) -> np.ndarray:
        """Return the rows that some lists hold, [M] int64 ascending."""
        parts = [self.rows[self.ends[one - 1] if one else 0 : self.ends[one]] for one in lists]
        return np.sort(np.concatenate(parts))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all of it by name, for a file."""
        about = np.array([self.probes, self.recall], np.float64)
        return {"centres": self.centres, "rows": self.rows, "ends": self.ends, "about": about}

    @staticmethod
    def of(arrays: dict[str, np.ndarray]) -> "InvertedLists":
        """Return what `arrays` named."""
        probes, recall = arrays["about"].tolist()
        return InvertedLists(
            arrays["centres"], arrays["rows"], arrays["ends"], int(probes), float(recall)
        )


def inverted_lists(rows: np.ndarray, *, progress: Progress = Silent()) -> InvertedLists:
    """Return the lists of a set of unit rows [G, d], as many looked through as a sample needs.

    Raises:
        BadInput: FAISS cannot be imported.
    """
    centres = cluster_centres(rows, list_count(len(rows)))
    list_of = nearest_centres(rows, centres, count=1)[:, 0]
    sample = sampled(rows)
    true = top_k(sample, rows, k=min(MEASURED, len(rows)))[1]
    probes = lists_needed(sample, true, centres=centres, list_of=list_of, share=SHARE)
    members = in_lists(list_of[:, None], len(centres))
    ends = np.cumsum([len(one) for one in members], dtype=np.int64)
    order = np.concatenate(members).astype(np.int64)
    found = InvertedLists(centres, order, ends, probes, 1.0)
    found = InvertedLists(centres, order, ends, probes, measured_recall(found, rows))
    progress.message(f"{len(rows):,} items in {found}")
    return found


def measured_recall(lists: InvertedLists, rows: np.ndarray, *, seed: int = 1) -> float:
    """Return the share of the true nearest, itself left out, that a sample of rows finds."""
    import torch

    count = min(RECALL_SAMPLE, len(rows))
    chosen = np.sort(numpy_generator(seed, "recall").choice(len(rows), count, replace=False))
    k = min(MEASURED + 1, len(rows))
    true = top_k(rows[chosen], rows, k=k)[1]
    asking, keys = torch.from_numpy(rows[chosen]), torch.from_numpy(rows)
    found = lists.nearest(asking, keys, k=k)[1].numpy()
    both = [
        len(np.intersect1d(one[one != own], other[other != own]))
        for own, one, other in zip(chosen, true, found, strict=True)
    ]
    return float(np.mean(both)) / max(1, k - 1)
