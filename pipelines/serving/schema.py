"""What the server answers, as its OpenAPI description tells it."""

from pydantic import BaseModel


class Problem(BaseModel):
    """What is wrong with a request."""

    error: str


class Item(BaseModel):
    """One item of the index; -1 and "" where something is not known."""

    row: int
    name: str
    pid: int
    camid: int
    identity: str
    camera: str
    time: int
    picture: str


class Items(BaseModel):
    """Some items, of all that the filter lets pass."""

    version: str
    total: int
    items: list[Item]


class FoundItem(Item):
    """An item found: `similarity` after refinement, `before` it, `weight` its share of attention.

    members: the names of the pictures that it is made of, where it is a tracklet.
    """

    rank: int
    similarity: float
    before: float
    weight: float
    members: list[str]


class ReadItem(BaseModel):
    """An item that refined the query, and its share of the query's attention."""

    row: int
    name: str
    share: float
    picture: str


class Found(BaseModel):
    """The answer to a query.

    nearest:  the largest similarity with any item before refinement.
    nobody:   whether that does not reach the threshold.   Both are null without a threshold.
    listened: the items that refined the query.   own: the share that it kept for itself.
    false_accepts: the share of strangers, in training, that reach the threshold.
    """

    version: str
    gallery: int
    refined: bool
    refined_by: str
    threshold: float | None
    false_accepts: float | None
    nearest: float | None
    nobody: bool | None
    own: float
    hits: list[FoundItem]
    listened: list[ReadItem]
    seconds: float


class Health(BaseModel):
    """Whether the server answers, from which index, and what is wrong with a newer one."""

    status: str
    items: int
    version: str
    problem: str


class Camera(BaseModel):
    """A camera, as its owner calls it, and how many items are of it."""

    name: str
    items: int


class Tells(BaseModel):
    """What tells strangers: shares of pictures that reach each of some similarities.

    strangers: of people who are not in the gallery.   friends: of those who are.
    """

    threshold: float
    similarities: list[float]
    strangers: list[float]
    friends: list[float]


class About(BaseModel):
    """What is served: for the page.

    pictures: whether the network is here, so that pictures can be sent.
    shown:    whether the items' pictures lie on this machine.
    approximate: how items are found where not all are compared; "" where all are.
    """

    version: str
    run: str
    items: int
    dim: int
    refined_by: str
    pictures: bool
    shown: bool
    allow_edit: bool
    megabytes: float
    cameras: list[Camera]
    first_time: int | None
    last_time: int | None
    calibration: Tells | None
    approximate: str


class Changed(BaseModel):
    """What a change did: how many items there are now, in which version of the index."""

    changed: int
    items: int
    version: str
