"""pictures (or embeddings) + index.h5 -> who it is: ranked gallery items, or nobody"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..artifacts.run import Run
from ..errors import BadInput
from ..extraction.pictures import Crop, Gathered, gather
from ..gallery.answers import Answer, Hit, SearchResult
from ..imports import importing
from ..progress import Progress, Silent

if TYPE_CHECKING:
    from torch import Tensor

    from ..gallery.explanation import LayerWeights
    from ..gallery.index import GalleryIndex

FALSE_ACCEPTS = 0.01  # share of strangers taken for somebody, where a threshold is calibrated
LISTENED = 5  # neighbours named for each query


def search_images(
    run: Run,
    sources: Sequence[str | Path],
    *,
    top: int = 10,
    crop: Crop | None = None,
    camid: int = -1,
    threshold: float | Literal["auto"] | None = None,
    false_accepts: float = FALSE_ACCEPTS,
    device: str = "auto",
    progress: Progress = Silent(),
) -> SearchResult:
    """Search the run's index with pictures, folders of pictures, or files of embeddings.

    Each query is refined on its own, as if it were the only one.

    crop:          x, y, width, height in pixels of every picture.
    camid:         the pictures' camera, as the gallery numbers it, for an NFormer that knows
                   cameras; -1: not known.
    threshold:     a similarity before refinement below which nobody is there; "auto": the one that
                   `false_accepts` of the strangers in the index's calibration reach.

    Raises:
        MissingArtifact, StaleArtifact: index.h5, with the command for it.
        BadInput: unreadable pictures, a crop outside of one, embeddings of another width.
    """
    if top < 1:
        raise BadInput(f"--top {top}: at least one item must be asked for")
    clock = Clock()
    with importing("torch"):
        from ..gallery import index as gallery_index
        from ..gallery.explanation import LayerWeights
        from .index import opened

    clock.lap("imports")
    stored = opened(run)
    index = stored.index
    clock.lap("open index")
    asked = gather(
        run,
        [Path(one) for one in sources],
        prefer="query",
        device=device,
        camid=camid,
        crop=crop,
        progress=progress,
    )
    clock.lap("read queries", apart=asked.seconds)
    limit, rate = _limit(threshold, false_accepts, calibration=stored.calibration, run=run)
    plain, weights = gallery_index.unit_queries(index, asked.embeddings), list[LayerWeights]()
    refined = gallery_index.refined_queries(
        index, plain, camids=asked.embeddings.camids, explain=weights
    )
    clock.lap("refine")
    answers = _answers(
        index, asked, queries=(plain, refined), weights=weights, top=top, limit=limit, clock=clock
    )
    return SearchResult(
        gallery=len(index),
        refined=index.state is not None,
        threshold=limit,
        false_accepts=rate,
        answers=answers,
        root=stored.manifest.facts["root"],
        seconds=clock.laps,
    )


def _answers(
    index: "GalleryIndex",
    asked: Gathered,
    *,
    queries: tuple["Tensor", "Tensor"],
    weights: "list[LayerWeights]",
    top: int,
    limit: float | None,
    clock: "Clock",
) -> list[Answer]:
    """Return what each query found, with the shares of the items that it read.

    queries: [Q, d] of length 1, before and after refinement.
    """
    from ..gallery import index as gallery_index
    from ..gallery.explanation import shares_of

    plain, refined = queries
    similarity, rows = gallery_index.most_similar(index, refined, top=top)
    nearest = [None] * len(plain)
    if limit is not None:
        nearest = gallery_index.nearest_plain(index, plain).tolist()
    before = (plain[:, None] * index.plain[rows]).sum(dim=2).tolist()  # [Q, top]
    clock.lap("rank")
    answers = [
        _answer(
            index,
            asked.embeddings.names[query],
            found=list(zip(*found, strict=True)),
            shares=shares_of(weights, query),
            nearest=nearest[query],
            limit=limit,
        )
        for query, found in enumerate(zip(similarity.tolist(), before, rows.tolist(), strict=True))
    ]
    answers = [
        dataclasses.replace(answer, picture="" if picture is None else str(picture))
        for answer, picture in zip(answers, asked.pictures, strict=True)
    ]
    clock.lap("explain")
    return answers


class Clock:
    """Seconds by step, since the one before."""

    def __init__(self) -> None:
        self.last, self.laps = time.perf_counter(), dict[str, float]()

    def lap(self, name: str, *, apart: dict[str, float] | None = None) -> None:
        """End the step `name`; what of it is known in parts stands under the parts' names."""
        now = time.perf_counter()
        spent = now - self.last - sum((apart or {}).values())
        self.laps.update({**(apart or {}), name: max(spent, 0.0)})
        self.last = now


def _limit(
    threshold: float | Literal["auto"] | None, rate: float, *, calibration: Any, run: Run
) -> tuple[float | None, float | None]:
    """Return the similarity asked for and the share of strangers that reach it."""
    if threshold is None:
        return None, None
    if threshold != "auto":
        return threshold, None if calibration is None else calibration.false_accepts(threshold)
    if calibration is None:
        raise BadInput(
            f"--threshold auto: {run.path('index.h5')} has no calibration, which takes training "
            "identities (at least 16); give a similarity, such as --threshold 0.6"
        )
    limit = calibration.threshold(rate)
    return limit, calibration.false_accepts(limit)


def _answer(
    index: "GalleryIndex",
    name: str,
    *,
    found: list[tuple[float, float, int]],
    shares: tuple[float, dict[int, float]],
    nearest: float | None,
    limit: float | None,
) -> Answer:
    own, lent = shares
    hits = [
        Hit(
            rank=rank,
            name=index.names[row],
            pid=int(index.pids[row]),
            camid=int(index.camids[row]),
            similarity=round(similarity, 6),
            before=round(before, 6),
            weight=round(lent.get(row, 0.0), 6),
        )
        for rank, (similarity, before, row) in enumerate(found, 1)
    ]
    loudest = sorted(lent, key=lambda row: (-lent[row], row))[:LISTENED]
    listened = [(index.names[row], round(lent[row], 6)) for row in loudest if lent[row] > 0]
    nobody = None if limit is None or nearest is None else nearest < limit
    closest = None if nearest is None else round(nearest, 6)
    return Answer(name, hits, closest, nobody, listened, round(own, 6))
