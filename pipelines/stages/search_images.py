"""pictures (or embeddings) + index.h5 -> who it is: ranked gallery items, or nobody"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..artifacts.embeddings import split_pids
from ..artifacts.run import Run, require_run
from ..errors import BadInput
from ..extraction.given import Use
from ..extraction.pictures import Crop, Gathered, gather
from ..gallery.answers import Answer, Hit, SearchResult
from ..gallery.asked import uncalibrated
from ..imports import importing
from ..progress import Progress, Silent
from .info import older_than_nformer

if TYPE_CHECKING:
    from ..extraction.networks import Network
    from ..gallery.index import GalleryIndex

Threshold = float | Literal["auto"] | None
FALSE_ACCEPTS = 0.01  # share of strangers taken for somebody, where a threshold is calibrated
NAMED = 5  # neighbours named for each query


def search_images(
    run: Run,
    sources: Sequence[str | Path],
    *,
    top: int = 10,
    crop: Crop | None = None,
    camid: int | str = -1,
    threshold: Threshold = None,
    false_accepts: float = FALSE_ACCEPTS,
    device: str = "auto",
    progress: Progress = Silent(),
) -> SearchResult:
    """Search the run's index with pictures, folders of pictures, or files of embeddings.

    Settings and errors are those of `Searcher`, which answers many calls without a start each.
    """
    require_run(run, "search_images")
    asked: dict[str, Any] = {"top": top, "crop": crop, "camid": camid, "threshold": threshold}
    searcher = Searcher(run, device=device)
    return searcher.search(sources, **asked, false_accepts=false_accepts, progress=progress)


class Searcher:
    """A run's index, opened once for many searches, and its network from the first picture on.

    What is added to the index or removed from it afterwards is not seen.

    Raises:
        MissingArtifact, StaleArtifact: index.h5, with the command for it.
    """

    def __init__(self, run: Run, *, device: str = "auto") -> None:
        require_run(run, "Searcher")
        self.run, self.device, self.clock = run, device, Clock()
        with importing("torch"):
            from .index import opened

        self.clock.lap("imports")
        self.stored = opened(run)
        self.clock.lap("open index")
        self._network: dict[Use, Network] = {}
        self._training: dict[str, int] | None = None

    def warn(self, progress: Progress) -> None:
        """Say so where the index is not refined, though the run has an NFormer by now."""
        if told := older_than_nformer(self.run):
            progress.warn(f"{self.run.path('index.h5')} was {told}")

    def search(
        self,
        sources: Sequence[str | Path],
        *,
        top: int = 10,
        crop: Crop | None = None,
        camid: int | str = -1,
        threshold: Threshold = None,
        false_accepts: float = FALSE_ACCEPTS,
        progress: Progress = Silent(),
    ) -> SearchResult:
        """Search the index with pictures, folders of pictures, or files of embeddings.

        Each query is refined on its own, as if it were the only one.

        crop:          x, y, width, height in pixels of every picture.
        camid:         the pictures' camera, as the gallery numbers or calls it, for an NFormer that
                       knows cameras; -1: not known.
        threshold:     a similarity before refinement below which nobody is there; "auto": the one
                       that `false_accepts` of the strangers in the index's calibration reach.

        Raises:
            BadInput: unreadable pictures, a crop outside of one, embeddings of another width.
        """
        _require_top(top)
        self.warn(progress)
        clock, self.clock = self.clock.going_on(), Clock()
        camera = self.stored.index.camera_number(camid, option="--camid")
        view: dict[str, Any] = {"camid": camera, "crop": crop, "network": self.network}
        asked = gather(list(map(Path, sources)), prefer="query", progress=progress, **view)
        clock.lap("read queries", apart=asked.seconds)
        wanted: dict[str, Any] = {"threshold": threshold, "false_accepts": false_accepts}
        return self.answered(asked, top=top, clock=clock, **wanted)

    def answered(
        self,
        asked: Gathered,
        *,
        top: int = 10,
        threshold: Threshold = None,
        false_accepts: float = FALSE_ACCEPTS,
        among: np.ndarray | None = None,
        clock: "Clock | None" = None,
    ) -> SearchResult:
        """Search the index with queries that are embedded already; the rest is as for `search`.

        among: [M] int64, the rows of the index that count; None: all.   clock: goes on.

        Raises:
            BadInput: rows of zeros or of another width, `among` without a row, a wrong threshold.
        """
        import torch

        from ..gallery import index as gallery_index
        from ..gallery.explanation import LayerWeights, shares_of

        _require_top(top)
        clock = Clock() if clock is None else clock
        stored, index = self.stored, self.stored.index
        limit, rate = _limit(threshold, false_accepts, calibration=stored.calibration, run=self.run)
        part = None if among is None else torch.from_numpy(among)
        plain, weights = gallery_index.unit_queries(index, asked.embeddings), list[LayerWeights]()
        refined = gallery_index.refined_queries(
            index, plain, camids=asked.embeddings.camids, explain=weights
        )
        clock.lap("refine")
        similarity, rows = gallery_index.most_similar(index, refined, top=top, among=part)
        nearest = None
        if limit is not None:
            nearest = gallery_index.nearest_plain(index, plain, among=part)
        before = (plain[:, None] * index.plain[rows]).sum(dim=2)  # [Q, top]
        clock.lap("rank")
        parts = zip(similarity.tolist(), before.tolist(), rows.tolist(), strict=True)
        answers, trained = [], self._trained_on(asked.pictures)
        there = set(np.asarray(index.pids).tolist()) if trained else set[int]()
        for query, found in enumerate(parts):
            own, lent = shares_of(weights, query)
            closest = None if nearest is None else float(nearest[query])
            read_most = _read_most(lent)
            answers.append(
                Answer(
                    query=asked.embeddings.names[query],
                    hits=_hits(index, zip(*found, strict=True), lent=lent),
                    nearest=None if closest is None else round(closest, 6),
                    nobody=None if closest is None or limit is None else closest < limit,
                    listened=[(index.names[row], round(lent[row], 6)) for row in read_most],
                    own=round(own, 6),
                    picture=str(asked.pictures[query] or ""),
                    training=query in trained,
                    absent=query in trained and trained[query] not in there,
                    rows=read_most,
                )
            )
        clock.lap("explain")
        return SearchResult(
            gallery=len(index),
            refined=bool(index.refined_by),
            refined_by=index.refined_by,
            threshold=limit,
            false_accepts=rate,
            answers=answers,
            root=stored.manifest.facts["root"],
            folders=stored.manifest.facts.get("folders", []),
            seconds=clock.laps,
        )

    def _trained_on(self, pictures: Sequence[Path | None]) -> dict[int, int]:
        """Return which queries are images of the training split, and the identity of each."""
        root, inputs = self.stored.manifest.facts["root"], self.stored.manifest.inputs
        if not root or "embeddings.h5" not in inputs:
            return {}
        places = {row: path.resolve() for row, path in enumerate(pictures) if path is not None}
        names = {
            row: path.relative_to(root).as_posix()
            for row, path in places.items()
            if path.is_relative_to(root)
        }
        if names and self._training is None:
            self._training = split_pids(self.run.path("embeddings.h5"), "train")
        known = self._training or {}
        return {row: known[name] for row, name in names.items() if name in known}

    def look_through_lists(self, progress: Progress = Silent()) -> None:
        """Search a large index by lists from now on, which are made once; a small one as before."""
        from .list_index import listed

        self.stored = listed(self.run, self.stored, progress=progress)

    def take_network(self, other: "Searcher") -> None:
        """Use the network of another searcher, opened already: it is the same one."""
        self._network = other._network

    def network(self, use: Use) -> "Network":
        """Return the network that embedded the index, opened once for each use."""
        if use not in self._network:
            from ..extraction.run_network import run_network

            self._network[use] = run_network(self.run, self.device, use=use)
        return self._network[use]


class Clock:
    """Seconds by step, since the one before."""

    def __init__(self) -> None:
        self.last, self.laps = time.perf_counter(), dict[str, float]()

    def going_on(self) -> "Clock":
        """Return the clock with its laps, from now on."""
        self.last = time.perf_counter()
        return self

    def lap(self, name: str, *, apart: dict[str, float] | None = None) -> None:
        """End the step `name`; what of it is known in parts stands under the parts' names."""
        now = time.perf_counter()
        spent = now - self.last - sum((apart or {}).values())
        self.laps.update({**(apart or {}), name: max(spent, 0.0)})
        self.last = now


def _require_top(top: int) -> None:
    if top < 1:
        raise BadInput(f"--top {top}: at least one item must be asked for")


def _limit(
    threshold: Threshold, rate: float, *, calibration: Any, run: Run
) -> tuple[float | None, float | None]:
    """Return the similarity asked for and the share of strangers that reach it."""
    if threshold is None:
        return None, None
    if threshold != "auto":
        return threshold, None if calibration is None else calibration.false_accepts(threshold)
    if calibration is None:
        raise uncalibrated(run.path("index.h5"))
    limit = calibration.threshold(rate)
    return limit, calibration.false_accepts(limit)


def _hits(
    index: "GalleryIndex", found: Iterable[tuple[float, float, int]], *, lent: dict[int, float]
) -> list[Hit]:
    """Return gallery items from their similarity, that before refinement, and their rows."""
    return [
        Hit(
            rank=rank,
            name=index.names[row],
            pid=(pid := int(index.pids[row])),
            camid=(camid := int(index.camids[row])),
            identity=index.labels.person(pid) if pid >= 0 else "",
            camera=index.labels.camera(camid) if camid >= 0 else "",
            similarity=round(similarity, 6),
            before=round(before, 6),
            weight=round(lent.get(row, 0.0), 6),
            members=index.members[row].split("\n") if any(index.members[row : row + 1]) else [],
            row=row,
            time=int(index.times[row]) if len(index.times) else -1,
        )
        for rank, (similarity, before, row) in enumerate(found, 1)
    ]


def _read_most(lent: dict[int, float]) -> list[int]:
    """Return the gallery rows that a query reads most."""
    most = sorted(lent, key=lambda row: (-lent[row], row))[:NAMED]
    return [row for row in most if lent[row] > 0]
