"""Graph convolution re-ranking (`gcr`): features spread over the neighbour graph.

Zhang, Qian, Wang, Liu, Chen and Wang, "Graph Convolution Based Efficient Re-Ranking for Visual
Retrieval", 2023 (arXiv 2306.08792), sections III-B and III-C. With S the graph's exp(similarity/β)
on each item's k nearest, itself included, features become D_r^(−1/2) S D_c^(−1/2) X, D_r and D_c
being the sums of the rows and columns of S; the same on the graph whose edges join different
cameras only; and a mixture of both is made of length 1. Three rounds, each with its own graph.

Cost: a round takes two exact searches of the set; O(N k d) beside them.
"""

import numpy as np

from ..embeddings import Embeddings
from ..errors import BadInput
from ..neighbours.camera_lists import other_camera_lists
from ..neighbours.checked import own_first, unit_rows
from ..neighbours.exact import top_k
from ..neighbours.graph import Neighbourhoods
from ..neighbours.self_join import self_join
from .base import Pair, RefineProtocol, both_rows, split_rows, weighted_sum, with_rows


def propagate(
    near: Neighbourhoods,
    *,
    protocol: RefineProtocol = "isolated",
    train: Embeddings | None = None,
    k: int = 15,
    k_across: int = 3,
    beta: float = 0.2,
    share_across: float = 0.3,
    rounds: int = 3,
) -> Pair:
    """Return both sets after some rounds of graph convolution.

    k, k_across: neighbours on the plain and on the cross-camera graph, both with the item itself;
    beta: temperature; share_across: of the cross-camera graph in the mixture (0 where cameras
    are not known). isolated: the gallery spreads over itself; a query reads the gallery of the same
    round through its own row of S, the column sums being the gallery's.

    Raises:
        BadInput: settings out of range.
    """
    if min(k, k_across, rounds) < 1 or beta <= 0 or not 0 <= share_across <= 1:
        raise BadInput(
            "gcr: k, k_across and rounds must be 1 or more, beta above 0, a share 0 to 1"
        )
    cameras = near.query_items.has_cameras and near.gallery_items.has_cameras
    step = Step(k, k_across, beta=beta, share=share_across if cameras else 0.0)
    asking, camids = near.query_items.camids, near.gallery_items.camids
    query, gallery = both_rows(near)
    if protocol == "joint":
        rows, camids = near.joint_rows(), np.concatenate([asking, camids])
        for _ in range(rounds):
            rows = step.of_set(rows, camids)[0]
        return split_rows(near, rows)
    for _ in range(rounds):
        refined, sums = step.of_set(gallery, camids)
        query = step.of_query(query, asking, gallery=gallery, camids=camids, sums=sums)
        gallery = refined
    return with_rows(near, query, gallery=gallery)


class Step:
    """One round: neighbours, their weights, and the mixture of both graphs."""

    def __init__(self, k: int, k_across: int, *, beta: float, share: float) -> None:
        self.k, self.k_across, self.beta, self.share = k, k_across, np.float32(beta), share

    def of_set(self, rows: np.ndarray, camids: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return a set's next rows [N, d], and the column sums of each graph used."""
        mixed, sums = np.zeros_like(rows), []
        for share, index, weights in self._graphs(
            rows, camids, others=rows, other_camids=camids, own=True
        ):
            column = np.bincount(index.ravel(), weights.ravel(), len(rows)).astype(np.float32)
            scale = np.sqrt(weights.sum(axis=1, keepdims=True) * column[index])
            mixed += share * weighted_sum(rows, index=index, weights=weights / scale)
            sums.append(column)
        return unit_rows(mixed, "embeddings"), sums

    def of_query(
        self,
        query: np.ndarray,
        asking: np.ndarray,
        *,
        gallery: np.ndarray,
        camids: np.ndarray,
        sums: list[np.ndarray],
    ) -> np.ndarray:
        """Return the next rows of queries [Q, d] that read a gallery's present rows."""
        mixed = np.zeros_like(query)
        own = np.exp(np.float32(1) / self.beta)  # an item's similarity to itself is 1
        graphs = self._graphs(query, asking, others=gallery, other_camids=camids, own=False)
        for (share, index, weights), column in zip(graphs, sums, strict=True):
            total = weights.sum(axis=1, keepdims=True) + own
            read = weighted_sum(
                gallery, index=index, weights=weights / np.sqrt(total * column[index])
            )
            # No other row lists a query: its column holds its own entry alone.
            mixed += share * (read + query * (own / np.sqrt(total * own)))
        return unit_rows(mixed, "embeddings")

    def _graphs(
        self,
        rows: np.ndarray,
        camids: np.ndarray,
        *,
        others: np.ndarray,
        other_camids: np.ndarray,
        own: bool,
    ) -> list[tuple[float, np.ndarray, np.ndarray]]:
        """Return each graph's share, lists [N, k] and weights; `own` lists hold the row itself."""
        graphs = []
        if self.share < 1:
            graphs.append((1 - self.share, *self._plain(rows, others, own=own)))
        if self.share > 0:
            across = self._across(rows, camids, others=others, other_camids=other_camids, own=own)
            graphs.append((self.share, *across))
        return graphs

    def _plain(
        self, rows: np.ndarray, others: np.ndarray, *, own: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        k = min(self.k - (not own), len(others))
        if own:
            found = self_join(rows, k)
            own_first(found.similarity, found.index)
            return found.index, np.exp(found.similarity / self.beta)
        similarity, index = top_k(rows, others, k=max(k, 1))
        return index[:, :k], np.exp(similarity[:, :k] / self.beta)

    def _across(
        self,
        rows: np.ndarray,
        camids: np.ndarray,
        *,
        others: np.ndarray,
        other_camids: np.ndarray,
        own: bool,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the lists among other cameras; an item with too few has weights of 0."""
        targets = (others, other_camids)
        similarity, index = other_camera_lists(rows, camids, k=self.k_across - 1, others=targets)
        weights = np.where(index >= 0, np.exp(similarity / self.beta), 0).astype(np.float32)
        index = index.clip(0)
        if not own:
            return index, weights
        itself = np.arange(len(rows))[:, None]
        mine = np.full((len(rows), 1), np.exp(np.float32(1) / self.beta), np.float32)
        return np.concatenate([itself, index], 1), np.concatenate([mine, weights], 1)
