"""How well clusters agree with known identities: ARI, NMI, BCubed and pairwise F."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array


@dataclass(frozen=True)
class Agreement:
    """Fractions of 1, over the rows whose identity is known.

    ari: adjusted Rand index (Hubert and Arabie, 1985).
    nmi: mutual information over the mean of both entropies.
    bcubed, precision, recall: BCubed F and its parts (Bagga and Baldwin, 1998): means over rows of
        the share of a row's cluster that is its person, and of its person that is in the cluster.
    pairwise: F of the pairs of rows that are put into one cluster.
    rows, identities, clusters: counted among these rows.
    """

    ari: float
    nmi: float
    bcubed: float
    precision: float
    recall: float
    pairwise: float
    rows: int
    identities: int
    clusters: int


def agreement(labels: np.ndarray, pids: np.ndarray) -> Agreement | None:
    """Compare clusters [N] with identities [N]; rows of a negative one are junk and left out.

    None where no row's identity is known.
    """
    known = pids >= 0
    if not known.any():
        return None
    clusters, people = (
        np.unique(values[known], return_inverse=True)[1] for values in (labels, pids)
    )
    shared = coo_array((np.ones(len(clusters)), (clusters, people))).tocsr().tocoo()
    sizes, images = np.bincount(clusters), np.bincount(people)
    (row, column), both = shared.coords, shared.data  # cells [C, P] that are not empty
    rows = float(len(clusters))
    precision = float((both**2 / sizes[row]).sum() / rows)
    recall = float((both**2 / images[column]).sum() / rows)
    pairs, of_clusters, of_people = (
        float((counts * (counts - 1.0)).sum() / 2) for counts in (both, sizes, images)
    )
    expected = of_clusters * of_people / max(1.0, rows * (rows - 1) / 2)
    most = (of_clusters + of_people) / 2
    mutual = float((both / rows * np.log(both * rows / (sizes[row] * images[column]))).sum())
    entropy = (_entropy(sizes) + _entropy(images)) / 2
    return Agreement(
        ari=(pairs - expected) / (most - expected) if most > expected else 1.0,
        nmi=max(0.0, mutual) / entropy if entropy > 0 else 1.0,
        bcubed=_harmonic(precision, recall),
        precision=precision,
        recall=recall,
        pairwise=pairs / most if most > 0 else 1.0,  # F = 2 TP / (TP + FP + TP + FN)
        rows=len(clusters),
        identities=len(images),
        clusters=len(sizes),
    )


def _harmonic(one: float, other: float) -> float:
    return 2 * one * other / (one + other)


def _entropy(counts: np.ndarray) -> float:
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())
