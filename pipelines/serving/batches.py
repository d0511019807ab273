"""Queries that wait are answered together by one thread; none sees what another one did wrong."""

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..embeddings import Embeddings
from ..errors import BadInput
from ..extraction.pictures import Gathered
from ..gallery.answers import SearchResult
from .live import Opened


@dataclass(frozen=True, eq=False)
class Asked:
    """A query, as an image that fits the network or as features [d], and how it is answered.

    among: the rows that count, under the name that tells them from others; None: all.
    """

    opened: Opened
    image: np.ndarray | None
    features: np.ndarray | None
    camid: int
    settings: tuple[tuple[str, Hashable], ...]
    among: tuple[Hashable, np.ndarray] | None = None
    name: str = "query"
    result: "Future[SearchResult]" = field(default_factory=Future)

    @property
    def kind(self) -> Hashable:
        """What queries have in common that are answered by one call."""
        width = None if self.features is None else len(self.features)
        rows = None if self.among is None else self.among[0]
        return id(self.opened), width, self.settings, rows


class Batches:
    """A queue and the thread that empties it, a batch of queries at a time."""

    def __init__(self, *, most: int, tell: Callable[[int], None] = lambda count: None) -> None:
        self.most, self.tell = most, tell
        self.waiting: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, name="answer", daemon=True)
        self.thread.start()

    def ask(self, asked: Asked) -> "Future[SearchResult]":
        """Let a query wait for its answer."""
        self.waiting.put(asked)
        return asked.result

    def close(self) -> None:
        """Answer what waits, and end."""
        self.waiting.put(None)
        self.thread.join()

    def _work(self) -> None:
        while (first := self.waiting.get()) is not None:
            batch, ended = [first], False
            while len(batch) < self.most and not ended and not self.waiting.empty():
                following = self.waiting.get()
                ended = following is None
                batch += [following] if following is not None else []
            self.tell(len(batch))
            answer_all(batch)
            if ended:
                return


def answer_all(batch: Sequence[Asked]) -> None:
    """Answer queries, those of a kind by one call; whom nobody waits for any more is left out."""
    kinds: dict[Hashable, list[Asked]] = defaultdict(list)
    for one in batch:
        if one.result.set_running_or_notify_cancel():
            kinds[one.kind].append(one)
    for alike in kinds.values():
        _answer(alike)


def _answer(alike: list[Asked]) -> None:
    """Answer queries of a kind together, and one by one where that fails: one may be at fault."""
    try:
        answers = _answers(alike)
    except Exception as error:
        if len(alike) == 1:
            alike[0].result.set_exception(error)
            return
        for one in alike:
            _answer([one])
        return
    for one, answer in zip(alike, answers, strict=True):
        one.result.set_result(answer)


def _answers(alike: list[Asked]) -> list[SearchResult]:
    """Return the result of each query, as a search with it alone gives it."""
    first, camids = alike[0], np.array([one.camid for one in alike])
    searching, settings = first.opened.searching, dict[str, Any](first.settings)
    images = [one.image for one in alike if one.image is not None]
    if images:
        gathered = searching.gathered(images, camids=camids)
    else:
        features = np.stack([one.features for one in alike if one.features is not None])
        unknown = np.full(len(alike), -1)
        gathered = Gathered(Embeddings(features, unknown, camids), [None] * len(alike))
    if first.among is not None:
        settings["among"] = first.among[1]
    found = searching.answered(gathered, **settings)
    if len(found.answers) != len(alike):
        raise BadInput(f"{len(alike)} queries have {len(found.answers)} answers")
    return [
        replace(found, answers=[replace(answer, query=one.name)])
        for one, answer in zip(alike, found.answers, strict=True)
    ]
