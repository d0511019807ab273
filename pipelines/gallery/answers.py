"""What a search answers: the gallery items that each query found, or that nobody is there."""

import json
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Hit:
    """One gallery item found.

    similarity: cosine of the refined embeddings, and `before` of the embeddings as they came.
    weight:     the share of attention that the query gave it.
    members:    the names of the pictures that the item, a tracklet, is made of.
    identity, camera: what their owner calls them; "" where not known.
    row:        the item's place in the index, from 0.   time: when it was taken; -1: not known.
    """

    rank: int
    name: str
    pid: int
    camid: int
    similarity: float
    before: float
    weight: float
    members: list[str] = field(default_factory=list)
    identity: str = ""
    camera: str = ""
    row: int = -1
    time: int = -1


@dataclass(frozen=True)
class Answer:
    """What was found for one query.

    nearest:  the largest similarity with any item before refinement, which tells strangers.
    nobody:   True when that does not reach the threshold. Both are None without a threshold.
    listened: the gallery items that refined the query, with their shares of its attention.
    rows:     the places of these in the index.
    own:      the share of attention that the query kept for itself.
    training: whether the picture is one that the network was trained on, which no index holds.
    absent:   whether its identity, then, is in the index under no other picture either.
    """

    query: str
    hits: list[Hit]
    nearest: float | None
    nobody: bool | None
    listened: list[tuple[str, float]]
    own: float
    picture: str = ""
    training: bool = False
    absent: bool = False
    rows: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class SearchResult:
    """The answers, how the threshold was found, and where the time went, in seconds.

    root: the folder that names start from.   folders: others that pictures were added from.
    """

    gallery: int
    refined: bool
    refined_by: str  # what the model is; "" where embeddings are compared as they are
    threshold: float | None
    false_accepts: float | None
    answers: list[Answer]
    root: str = ""
    folders: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the result as one JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False)
