"""A gallery and queries that were written in parts, and what is made of them step by step."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..progress import Progress
from . import gallery_steps as gallery_work
from .gallery_steps import ModelFile
from .join import nearest_of_each
from .on_disk import room_for
from .parts import Cost, Parts, Step, Steps
from .query_steps import Queries
from .search import Columns, searchable
from .shards import ends_of, parts_wanted
from .workers import ThisProcess, Workers


@dataclass(frozen=True, eq=False)
class Place:
    """Where a set is refined in parts: who works, in which folder, and with which model.

    folder: of this set and these settings alone: what is finished there is taken as it is.
    shards: parts asked for; 0: as many as fit.
    method: how a plain NFormer's neighbours are searched; those of a closed form are by "auto", as
            in one process.
    costs:  what each step has taken, by name.
    """

    workers: Workers
    folder: Path
    file: ModelFile
    progress: Progress
    shards: int = 0
    method: str = "auto"
    costs: dict[str, Cost] = field(default_factory=dict)

    def steps(self, rows: int) -> Steps:
        """Return the steps of a set of so many rows."""
        parts = parts_wanted(rows, workers=self.workers.count, asked=self.shards)
        folder = self.folder / f"in-{parts}"
        return Steps(self.workers, folder, ends_of(rows, parts), self.progress, self.costs)


@dataclass(frozen=True)
class Searched:
    """A search of the k nearest. name: of the rows' lists, where it is approximate."""

    name: str
    k: int
    method: str = "auto"


@dataclass(frozen=True, eq=False)
class Items:
    """A gallery in parts, in an order in which rows near each other make a part.

    order: [G], each row's number in the gallery as it came.
    first: the rows as they came, and now, as they are by now.   camids, groups: of each row.
    cameras: [C], the groups there are.   members: the rows of each; None where there is one.
    """

    place: Place
    steps: Steps
    order: np.ndarray
    first: Parts
    now: Parts
    camids: Parts
    groups: Parts
    cameras: np.ndarray
    members: tuple[Parts | None, ...] = (None,)

    @staticmethod
    def placed(place: Place, rows: Tensor, *, camids: Tensor, groups: Tensor) -> "Items":
        """Write a gallery's rows in parts."""
        steps = place.steps(len(rows))
        here = replace(steps, workers=ThisProcess(), costs={})
        order = here.run(
            gallery_work.order_rows, "order", gives=["order"], ends=(len(rows),),
            rows=rows.numpy(), parts=len(steps.ends),
        )["order"].only  # fmt: skip
        files: dict[str, Any] = here.run(
            gallery_work.take_rows, "gallery", gives=["rows", "camids", "groups"],
            bounds=steps.ends, order=order, rows=rows.numpy(), camids=camids.numpy(),
            groups=groups.numpy(),
        )  # fmt: skip
        first, cameras = files.pop("rows"), np.unique(groups)
        items = Items(place, steps, order, first, first, **files, cameras=cameras)
        if len(cameras) == 1:
            return items
        every = here.run(
            gallery_work.members_of, "members", gives=["members"],
            ends=tuple(range(1, len(cameras) + 1)), groups=groups.numpy()[order],
        )["members"]  # fmt: skip
        return replace(items, members=tuple(Parts((path,), (len(rows),)) for path in every.paths))

    def as_one(self) -> "Items":
        """Return the items as if they were of one camera."""
        return replace(self, members=(None,))

    def as_first(self) -> "Items":
        """Return the items as they came, as if they were of one camera."""
        return replace(self.as_one(), now=self.first)

    def run(self, step: Step, name: str, **given: Any) -> Parts:
        """Return the rows that a step makes."""
        return self.steps.run(step, name, gives=["rows"], **given)["rows"]

    def columns(self, search: Searched, *, asking: int | None = None) -> list[Columns]:
        """Return what is searched of each camera by so many rows; by all of these themselves."""
        themselves = asking is None
        asking = len(self.order) if asking is None else asking
        settings: dict[str, Any] = {"k": search.k, "asking": asking, "method": search.method}
        found = [
            searchable(
                self.steps, Columns(self.now, members), name=f"{search.name}-{number}", **settings
            )
            for number, members in enumerate(self.members)
        ]
        if themselves and self.members == (None,) and found[0].lists is None:
            own = nearest_of_each(self.steps, self.now, name=search.name, k=search.k)
            return [replace(found[0], own=own)]
        return found

    def edges(
        self, search: Searched, *, name: str, mutual: bool = True
    ) -> tuple[Parts, Parts, Parts]:
        """Return the rows' lists, how near a newcomer must be, and which entries are edges."""
        found = self.steps.run(
            gallery_work.list_nearest, f"{name}-lists", gives=["lists", "reach"],
            columns=self.columns(search), k=search.k,
        )  # fmt: skip
        kept = self.steps.run(
            gallery_work.keep_edges, f"{name}-edges", gives=["kept"], lists=found["lists"],
            mutual=mutual,
        )["kept"]  # fmt: skip
        return found["lists"], found["reach"], kept

    def back(self, name: str, rows: Callable[[int], np.ndarray]) -> Tensor:
        """Return the rows of all parts in the order in which the gallery came, kept in a file."""
        found = room_for(self.place.folder / name, len(self.order), self.now.width)
        for part in range(len(self.steps.ends)):
            found[self.order[self.now.rows_of(part)]] = rows(part)
        return torch.from_numpy(found)


@dataclass(frozen=True, eq=False)
class Asking:
    """Queries in blocks, of which there may be none. first: as they came; now: as they are."""

    steps: Steps
    first: Queries
    now: Queries

    @staticmethod
    def placed(place: Place, rows: Tensor, *, camids: Tensor) -> "Asking":
        """Write queries in blocks."""
        steps = place.steps(len(rows))
        files = replace(steps, workers=ThisProcess(), costs={}).run(
            gallery_work.take_rows, "queries", gives=["rows", "camids"], bounds=steps.ends,
            order=np.arange(len(rows)),
            rows=rows.numpy(), camids=camids.numpy(),
        )  # fmt: skip
        return Asking(steps, Queries(**files), Queries(**files))

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.first.rows)

    def read(self, step: Step, name: str, **given: Any) -> "Asking":
        """Return the queries after a step."""
        made = self.steps.run(step, f"queries-{name}", gives=["rows"], **given)
        return replace(self, now=Queries(made["rows"], self.now.camids))

    def back(self) -> Tensor:
        """Return the queries' rows."""
        none = np.zeros((0, 1), np.float32)
        return torch.from_numpy(np.concatenate(list(self.now.rows)) if len(self) else none)
