"""Within-identity whitening (`whiten`): make all directions vary equally within a person.

Within-class covariance normalisation (Hatch, Kajarekar and Stolcke, Interspeech 2006). From
training identities, S is the covariance of embeddings around their identity's mean; it is shrunk
towards its mean eigenvalue, S' = (1 − γ) S + γ tr(S)/d I (Ledoit and Wolf, 2004), and every
embedding, centred by the training mean, is multiplied by S'^(−1/2).

Cost: O(T d² + d³) for T training embeddings, O((Q + G) d²) to apply.
"""

import numpy as np

from ..embeddings import Embeddings
from ..errors import BadInput
from ..neighbours.checked import unit_rows
from ..neighbours.graph import Neighbourhoods
from .base import Pair, RefineProtocol, both_rows, with_rows

SAME = 1e-12  # variance of unit rows below which they are the same but for rounding


def whiten(
    near: Neighbourhoods,
    *,
    protocol: RefineProtocol = "isolated",
    train: Embeddings | None = None,
    shrinkage: float = 0.6,
) -> Pair:
    """Return both sets whitened by what varies within training identities.

    shrinkage: γ, from 0 (the covariance as measured) to 1 (centring alone). 0.6 was among the best
        of seven values on embeddings of three networks, trained on the identities or not; the
        less a network knows the identities, the less shrinking is needed.

    No item reads another: both protocols are the same.

    Raises:
        BadInput: no training embeddings, another width, no identity with two of them.
    """
    if train is None:
        raise BadInput(
            "whiten is fitted on training identities, and these embeddings have no train split; "
            "extract or import one, or leave whiten out"
        )
    if not 0 <= shrinkage <= 1:
        raise BadInput(f"whiten: the shrinkage is {shrinkage}; 0 to 1 is wanted")
    query, gallery = both_rows(near)
    mean, matrix = whitening(train, shrinkage)
    if len(mean) != query.shape[1]:
        raise BadInput(
            f"the training embeddings are {len(mean)} wide, the query's {query.shape[1]}; "
            "one network makes one width"
        )
    return with_rows(near, (query - mean) @ matrix, (gallery - mean) @ matrix)


def whitening(train: Embeddings, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean [d] and the whitening matrix [d, d] of training embeddings."""
    train = train.without_junk()
    rows = unit_rows(train.features, "training embeddings").astype(np.float64)
    pids, place, counts = np.unique(train.pids, return_inverse=True, return_counts=True)
    if not (counts > 1).any():
        raise BadInput(
            f"whiten needs identities with two embeddings or more; of the {len(pids)} training "
            "identities none has"
        )
    means = np.zeros((len(pids), rows.shape[1]))
    np.add.at(means, place, rows)
    means /= counts[:, None]
    apart = rows - means[place]
    scatter = apart.T @ apart / (len(rows) - len(pids))  # [d, T] x [T, d] -> [d, d]
    values, vectors = np.linalg.eigh(scatter)
    if not values.max() > SAME:  # an identity's embeddings do not differ: nothing to make equal
        return rows.mean(axis=0).astype(np.float32), np.eye(len(values), dtype=np.float32)
    shrunk = (1 - shrinkage) * values.clip(0) + shrinkage * values.mean()
    matrix = vectors / np.sqrt(np.maximum(shrunk, values.max() * 1e-10)) @ vectors.T
    return rows.mean(axis=0).astype(np.float32), matrix.astype(np.float32)
