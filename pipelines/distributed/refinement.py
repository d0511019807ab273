"""Embeddings -> refined embeddings, by tasks that go from file to file.

The first process holds the embeddings, and what is made of all rows at once: means, the shift from
training, k, standardised rows. Workers hold one part of the rows at a time and what it lists.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..embeddings import Embeddings
from ..errors import BadInput
from ..gallery.refinement import pick_landmarks, prepare, require_rows
from ..nformer.layerwise import embed
from ..nformer.model import NFormer
from ..nformer.on_closed_form import NFormerOnClosedForm
from ..progress import Progress
from ..refiners.closed_form import ClosedForm, camera_ids
from ..refiners.domain_shift import Domain
from ..refiners.edge_gate import NEAREST
from . import gallery_steps as gallery_work
from . import query_steps as query_work
from .gallery_steps import GatedParts, ModelFile
from .parts import Parts, Steps
from .query_steps import GraphParts, Queries
from .search import Columns, searchable
from .shards import ends_of, parts_wanted
from .workers import ThisProcess, Workers

PROTOCOLS = ("isolated", "joint")
SEARCHES = ("auto", "exact", "numpy", "ivf")


def require_supported(*, protocol: str, landmarks: str, draws: int, search: str) -> None:
    """Raise BadInput where something is asked for that is not done in parts."""
    if protocol not in PROTOCOLS:
        raise BadInput(f"--cluster refines by the protocols isolated and joint, not {protocol}")
    if landmarks != "random":
        raise BadInput(f"--cluster takes random landmarks only, not --landmarks {landmarks}")
    if draws > 1:
        raise BadInput("--cluster does not average draws of the landmarks; leave --average-draws")
    if search not in SEARCHES:
        raise BadInput(
            f"--cluster searches by {', '.join(SEARCHES)}; --set search={search} is not one of them"
        )


def require_supported_model(model: NFormer) -> None:
    """Raise BadInput where layers read all rows, or make a graph of their own."""
    if len(model.blocks) and (model.mask == "none" or model.graph == "affinity"):
        raise BadInput(
            "--cluster refines with NFormers whose layers read neighbours by cosine; this one has "
            f"graph {model.graph}, mask {model.mask}"
        )


@dataclass(frozen=True, eq=False)
class Place:
    """Where a set is refined in parts: who works, in which folder, and with which model.

    shards: parts asked for; 0: as many as fit.   method: how a plain NFormer's neighbours are
    searched; those of a closed form are by "auto", as in one process.
    """

    workers: Workers
    folder: Path
    file: ModelFile
    progress: Progress
    shards: int = 0
    method: str = "auto"

    def steps(self, rows: int) -> Steps:
        """Return the steps of a set of so many rows."""
        parts = parts_wanted(rows, workers=self.workers.count, asked=self.shards)
        folder = self.folder / f"in-{parts}"
        return Steps(self.workers, folder, ends_of(rows, parts), self.progress)


@torch.no_grad()
def refine_in_parts(
    model: NFormer,
    query: Embeddings,
    *,
    gallery: Embeddings,
    place: Place,
    protocol: str = "isolated",
    seed: int = 0,
    record: Callable[[Tensor], None] = lambda chosen: None,
    tell: Callable[[Domain], None] = lambda domain: None,
) -> tuple[Embeddings, Embeddings]:
    """Refine a query and a gallery as `refine` does.

    model:  place.file's, in this process.
    record: is told the rows [layers, l] that are landmarks.
    tell:   is told whether the gallery looks like a closed form's training set.

    Raises:
        BadInput: rows as for `refine`; a model whose layers read more than neighbours by cosine.
    """
    require_supported_model(model)
    rows = prepare(model, gallery.features, what="gallery embeddings")
    camids = camera_ids(gallery.camids, len(gallery), device="cpu")
    asking = prepare(model, query.features, what="query embeddings")
    asking_camids = camera_ids(query.camids, len(query), device="cpu")
    if protocol == "joint":
        rows, camids = torch.cat([asking, rows]), torch.cat([asking_camids, camids])
        asking, asking_camids = asking[:0], asking_camids[:0]
    require_rows(rows)
    chosen = pick_landmarks(model, rows, landmarks="random", seed=seed)
    record(chosen)
    form, k = model.closed_form if isinstance(model, NFormerOnClosedForm) else None, 1
    if form is not None:
        domain = form.domain(rows, camids)
        tell(domain)
        if domain.foreign:
            return _both(query, gallery, rows=rows, asking=asking)
        means = form.means(rows, camids)
        rows = form.standardise(rows, camids, means=means)
        asking = form.standardise(asking, asking_camids, means=means)
        as_chosen = model.neighbours == form.settings.neighbours
        k = form.fitting_neighbours(rows) if as_chosen else model.neighbours
    items = Items.placed(place, rows, camids=camids, groups=grouped(form, camids))
    queries = AskingQueries.placed(place, asking, camids=asking_camids)
    if form is not None:
        items, queries = by_closed_form(form, items, queries=queries, place=place, k=k)
    refined, answers = by_layers(model, items, queries=queries, place=place, chosen=chosen)
    return _both(query, gallery, rows=refined, asking=answers)


def grouped(form: ClosedForm | None, camids: Tensor) -> Tensor:
    """Return the groups [N] that a closed form takes the nearest of; one for all without it."""
    return torch.zeros_like(camids) if form is None else form.settings.groups(camids)


@dataclass(frozen=True, eq=False)
class Items:
    """A gallery in parts, in an order in which rows near each other make a part.

    order: [G], each row's number in the gallery as it came.   rows, camids, groups: in files.
    cameras: [C], the groups there are.   members: the rows of each; None where there is one.
    """

    steps: Steps
    order: np.ndarray
    rows: Parts
    camids: Parts
    groups: Parts
    cameras: np.ndarray
    members: tuple[Parts | None, ...]

    @staticmethod
    def placed(place: Place, rows: Tensor, *, camids: Tensor, groups: Tensor) -> "Items":
        """Write a gallery's rows in parts."""
        steps = place.steps(len(rows))
        here = replace(steps, workers=ThisProcess())
        found = here.run(
            gallery_work.order_rows, "order", gives=["order"], ends=(len(rows),),
            rows=rows.numpy(), parts=len(steps.ends),
        )  # fmt: skip
        order = found["order"].only
        given = {"rows": rows, "camids": camids, "groups": groups}
        arrays: dict[str, Any] = {name: array.numpy()[order] for name, array in given.items()}
        files = here.run(
            gallery_work.take_rows, "gallery", gives=list(arrays), bounds=steps.ends, **arrays
        )
        cameras = np.unique(arrays["groups"])
        members: tuple[Parts | None, ...] = (None,)
        if len(cameras) > 1:
            every = here.run(
                gallery_work.members_of, "members", gives=["members"],
                ends=tuple(range(1, len(cameras) + 1)), groups=arrays["groups"],
            )["members"]  # fmt: skip
            members = tuple(Parts((path,), (len(rows),)) for path in every.paths)
        return Items(steps, order, **files, cameras=cameras, members=members)

    def columns(self, rows: Parts, *, name: str, k: int, asking: int) -> list[Columns]:
        """Return what is searched of each camera."""
        return [
            searchable(
                self.steps, Columns(rows, members), name=f"{name}-{number}", k=k, asking=asking
            )
            for number, members in enumerate(self.members)
        ]


@dataclass(frozen=True, eq=False)
class AskingQueries:
    """Queries in blocks. first: as they came; now: as they are by now."""

    steps: Steps
    first: Queries
    now: Queries

    @staticmethod
    def placed(place: Place, rows: Tensor, *, camids: Tensor) -> "AskingQueries | None":
        """Write queries in blocks; None where there are none."""
        if not len(rows):
            return None
        steps = place.steps(len(rows))
        files = replace(steps, workers=ThisProcess()).run(
            gallery_work.take_rows, "queries", gives=["rows", "camids"], bounds=steps.ends,
            rows=rows.numpy(), camids=camids.numpy(),
        )  # fmt: skip
        return AskingQueries(steps, Queries(**files), Queries(**files))

    def read(self, step: Any, name: str, **given: Any) -> "AskingQueries":
        """Return the queries after a step."""
        made = self.steps.run(step, name, gives=["rows"], **given)
        return replace(self, now=Queries(made["rows"], self.now.camids))


def by_closed_form(
    form: ClosedForm, items: Items, *, queries: AskingQueries | None, place: Place, k: int
) -> tuple[Items, AskingQueries | None]:
    """Refine standardised rows as `ClosedForm.gallery` and `ClosedForm.query` do."""
    states, sharpness = items.rows, form.settings.sharpness
    for number in range(form.settings.layers if k > 1 else 0):
        name = f"sum-{number}"
        search: dict[str, Any] = {"name": f"{name}-camera", "k": k}
        lists, kept = edges_of(
            items, items.columns(states, **search, asking=len(items.order)), name=name, k=k
        )
        made = items.steps.run(
            gallery_work.sum_mutual, name, gives=["rows"], rows=states, lists=lists["lists"],
            kept=kept, sharpness=sharpness,
        )  # fmt: skip
        if queries is not None:
            asking = len(queries.now.rows)
            queries = queries.read(
                query_work.read_mutual,
                f"queries-{name}",
                queries=queries.now,
                columns=items.columns(states, **search, asking=asking),
                graph=GraphParts(lists["reach"], items.groups, items.cameras, k),
                sharpness=sharpness,
            )
        states = made["rows"]
    summed = replace(items, rows=states)
    if form.gate is None:
        return summed, queries
    return through_gate(summed, queries, rows=items.rows, place=place)


def through_gate(
    summed: Items, queries: AskingQueries | None, *, rows: Parts, place: Place
) -> tuple[Items, AskingQueries | None]:
    """Join what standardised rows read through the gate to their sums."""
    steps, count = summed.steps, len(rows)
    search: dict[str, Any] = {"name": "gate-all", "k": NEAREST + 1}
    columns = searchable(steps, Columns(rows), **search, asking=count)
    found = steps.run(
        gallery_work.list_others, "gate-lists", gives=["lists", "cosines", "profile"],
        columns=columns,
    )  # fmt: skip
    profile = np.concatenate(list(found.pop("profile"))).sum(axis=0) / count
    gated = GatedParts(rows, summed.camids, **found, profile=profile.astype(np.float32))
    reading: dict[str, Any] = {"gated": gated, "file": place.file}
    made = steps.run(gallery_work.read_gated, "gate", gives=["rows"], summed=summed.rows, **reading)
    if queries is not None:
        asking = len(queries.now.rows)
        queries = queries.read(
            query_work.read_through_gate,
            "queries-gate",
            queries=queries.first,
            summed=queries.now.rows,
            columns=searchable(steps, Columns(rows), **search, asking=asking),
            **reading,
        )
    return replace(summed, rows=made["rows"]), queries


def by_layers(
    model: NFormer, items: Items, *, queries: AskingQueries | None, place: Place, chosen: Tensor
) -> tuple[Tensor, Tensor]:
    """Refine rows by the model's layers, if it has any, as `refine_isolated` does.

    chosen:  [layers, l], the landmarks, by the numbers of the gallery as it came.
    returns: [G, d], in that order too, and [Q, d].
    """
    if not len(model.blocks):
        return items_back(items, items.rows), queries_back(queries, items)
    steps, k = items.steps, model.neighbours
    method = "auto" if isinstance(model, NFormerOnClosedForm) else place.method
    search: dict[str, Any] = {"name": "layers-all", "method": method, "k": k}
    columns = searchable(steps, Columns(items.rows), **search, asking=len(items.order))
    lists, kept = edges_of(items, [columns], name="layers", k=k, mutual=model.mask == "reciprocal")
    marks = np.argsort(items.order)[chosen.numpy()]  # [layers, l]
    hidden = [items.rows]
    for number, rows in enumerate(marks):
        made = steps.run(
            gallery_work.take_through_layer, f"layer-{number}", gives=["rows"],
            states=hidden[-1], lists=lists["lists"], kept=kept, file=place.file, number=number,
            marks=rows,
        )  # fmt: skip
        hidden.append(made["rows"])
    if queries is not None:
        asking = len(queries.now.rows)
        queries = queries.read(
            query_work.read_layers,
            "queries-layers",
            queries=queries.now,
            columns=searchable(steps, Columns(items.rows), **search, asking=asking),
            hidden=hidden[:-1],
            marks=np.stack([layer[rows] for layer, rows in zip(hidden, marks, strict=False)]),
            reach=lists["reach"],
            file=place.file,
        )
    refined = embed(model, items_back(items, hidden[-1]))
    return model.after(items_back(items, items.rows), refined), queries_back(queries, items)


def edges_of(
    items: Items, columns: list[Columns], *, name: str, k: int, mutual: bool = True
) -> tuple[dict[str, Parts], Parts]:
    """Return the lists and reaches of rows among some columns, and which entries are edges."""
    lists = items.steps.run(
        gallery_work.list_nearest, f"{name}-lists", gives=["lists", "reach"], columns=columns, k=k
    )
    kept = items.steps.run(
        gallery_work.keep_edges, f"{name}-edges", gives=["kept"], lists=lists["lists"],
        mutual=mutual,
    )  # fmt: skip
    return lists, kept["kept"]


def items_back(items: Items, rows: Parts) -> Tensor:
    """Return rows in the order in which the gallery came."""
    found = np.empty((len(rows), *rows.part(0).shape[1:]), np.float32)
    found[items.order] = np.concatenate(list(rows))
    return torch.from_numpy(found)


def queries_back(queries: AskingQueries | None, items: Items) -> Tensor:
    """Return the queries' rows."""
    if queries is None:
        return torch.zeros(0, items.rows.part(0).shape[1])
    return torch.from_numpy(np.concatenate(list(queries.now.rows)))


def _both(
    query: Embeddings, gallery: Embeddings, *, rows: Tensor, asking: Tensor
) -> tuple[Embeddings, Embeddings]:
    """Return the refined embeddings; where no query asked, the rows hold the queries first."""
    if not len(asking):
        asking, rows = rows[: len(query)], rows[len(query) :]
    return query.with_features(asking), gallery.with_features(rows)
