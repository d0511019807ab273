"""Re-rankings by name: each makes distances [Q, G] of its own, a block of queries at a time."""

from collections.abc import Callable
from dataclasses import dataclass

from ...errors import BadInput
from ...neighbours.graph import Neighbourhoods
from ..metrics import Distances
from .camera_jaccard import rank_camera_jaccard
from .gnn import rank_by_graph
from .k_reciprocal import rank_k_reciprocal, rank_k_reciprocal_isolated


@dataclass(frozen=True)
class Reranker:
    """A way to rank by something else than the cosine of two items.

    title: for tables. source: where it is published. protocol: `joint` where, by its definition,
    queries take part in each other's result. needs_cameras: every item's camera must be known.
    """

    name: str
    title: str
    source: str
    rank: Callable[..., Distances]
    protocol: str = "joint"
    needs_cameras: bool = False


RERANKERS: dict[str, Reranker] = {
    reranker.name: reranker
    for reranker in (
        Reranker("kr", "k-reciprocal re-ranking", "CVPR 2017", rank_k_reciprocal),
        Reranker(
            "kr-isolated",
            "the same, no query seeing another",
            "CVPR 2017",
            rank_k_reciprocal_isolated,
            protocol="isolated",
        ),
        Reranker(
            "cajaccard",
            "camera-aware Jaccard",
            "arXiv 2311.10605",
            rank_camera_jaccard,
            needs_cameras=True,
        ),
        Reranker("gnn", "GNN re-ranking", "arXiv 2012.07620", rank_by_graph),
    )
}


TUNED = ("kr", "kr-isolated")  # by k1, k2 and weight


def reranker_named(name: str) -> Reranker:
    """Return a re-ranking; BadInput, with the list, where there is none of that name."""
    if name not in RERANKERS:
        raise BadInput(f"re-ranking {name!r}: unknown; known are {', '.join(RERANKERS)}")
    return RERANKERS[name]


def ranked_by(name: str, near: Neighbourhoods, *, k1: int, k2: int, weight: float) -> Distances:
    """Return a re-ranking's distances; k1, k2 and weight are for both `kr`, others keep theirs."""
    rank = reranker_named(name).rank
    return rank(near, k1=k1, k2=k2, weight=weight) if name in TUNED else rank(near)
