"""Embeddings -> refined embeddings, by tasks that go from file to file.

The first process holds the embeddings, and does what takes all rows at once: means, the shift from
training, k, standardised rows. A worker holds one part of the rows at a time, and what it lists.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..embeddings import Embeddings
from ..errors import BadInput
from ..gallery.refinement import pick_landmarks, require_rows
from ..nformer.layerwise import embed
from ..nformer.model import NFormer
from ..nformer.on_closed_form import NFormerOnClosedForm
from ..refiners.closed_form import ClosedForm, camera_ids
from ..refiners.domain_shift import Domain
from ..refiners.edge_gate import NEAREST
from . import gallery_steps as gallery_work
from . import query_steps as query_work
from .gallery_steps import GatedParts
from .items import Asking, Items, Place, Searched
from .on_disk import in_blocks, prepared
from .parts import Parts
from .query_steps import GraphParts

Pair = tuple[Embeddings, Embeddings]


def require_neighbours_by_cosine(model: NFormer) -> None:
    """Raise BadInput where layers read all rows, or make a graph of their own."""
    if len(model.blocks) and (model.mask == "none" or model.graph == "affinity"):
        raise BadInput(
            "--cluster refines with layers that read neighbours by cosine; this NFormer has "
            f"graph {model.graph} and mask {model.mask}"
        )


@torch.no_grad()
def refine_in_parts(
    model: NFormer,
    query: Embeddings,
    *,
    gallery: Embeddings,
    place: Place,
    seeds: Sequence[int],
    protocol: str = "isolated",
    landmarks: Any = "random",
    record: Callable[[Tensor], None] = lambda chosen: None,
    tell: Callable[[Domain], None] = lambda domain: None,
) -> Iterator[Pair]:
    """Yield what `refine_draws` yields, but for the protocol paper.

    model: place.file's, in this process.

    Raises:
        BadInput: rows as for `refine`; a model whose layers read more than neighbours by cosine.
    """
    require_neighbours_by_cosine(model)
    asked, joint = (query, "query embeddings"), protocol == "joint"
    sets = [asked] * joint + [(gallery, "gallery embeddings")]
    rows = prepared(model, sets, path=place.folder / "rows.npy")
    camids = cameras_of(*(items for items, _ in sets))
    query_rows = prepared(model, [asked] * (not joint), path=place.folder / "queries.npy")
    query_camids = cameras_of(*[query] * (not joint))
    require_rows(rows)
    form = model.closed_form if isinstance(model, NFormerOnClosedForm) else None
    k = 1
    if form is not None:
        domain = form.domain(rows, camids)
        tell(domain)
        if domain.foreign:
            for seed in seeds:
                record(pick_landmarks(model, rows, landmarks=landmarks, seed=seed))
                yield both(query, gallery, rows=rows, asking=query_rows)
            return
        means = form.means(rows, camids)
        standardise = partial(form.standardise, means=means)
        rows = in_blocks(standardise, rows, camids, path=place.folder / "standardised.npy")
        query_rows = standardise(query_rows, query_camids)
        as_chosen = model.neighbours == form.settings.neighbours
        k = form.fitting_neighbours(rows) if as_chosen else model.neighbours
    groups = torch.zeros_like(camids) if form is None else form.settings.groups(camids)
    items = Items.placed(place, rows, camids=camids, groups=groups)
    asking = Asking.placed(place, query_rows, camids=query_camids)
    if form is not None:
        items, asking = by_closed_form(form, items, asking=asking, k=k)
        if form.gate is not None:
            items, asking = through_gate(items, asking)
    start = items.back("start.npy", items.now.part)
    for seed in seeds:
        chosen = pick_landmarks(model, start, landmarks=landmarks, seed=seed)
        record(chosen)
        refined, answers = start, asking
        if len(model.blocks):
            states, answers = by_layers(model, items, asking=asking, chosen=chosen, seed=seed)
            last = partial(after, model=model, rows=items.now, states=states)
            refined = items.back(f"refined-{seed}.npy", last)
        yield both(query, gallery, rows=refined, asking=answers.back())


def cameras_of(*sets: Embeddings) -> Tensor:
    """Return the cameras of some sets, one after another: [N] int64."""
    found = [camera_ids(items.camids, len(items), device="cpu") for items in sets]
    return torch.cat([torch.zeros(0, dtype=torch.int64), *found])


def after(part: int, *, model: NFormer, rows: Parts, states: Parts) -> np.ndarray:
    """Return a part's embeddings from its last states and the rows that the layers read."""
    own, last = (torch.from_numpy(array.part(part)) for array in (rows, states))
    return model.after(own, embed(model, last)).numpy()


def both(query: Embeddings, gallery: Embeddings, *, rows: Tensor, asking: Tensor) -> Pair:
    """Return the refined embeddings; where no query asked, the rows hold the queries first."""
    if not len(asking):
        asking, rows = rows[: len(query)], rows[len(query) :]
    return query.with_features(asking), gallery.with_features(rows)


def by_closed_form(
    form: ClosedForm, items: Items, *, asking: Asking, k: int
) -> tuple[Items, Asking]:
    """Sum rows with their mutual neighbours as `ClosedForm.gallery` and `ClosedForm.query` do."""
    sharpness = form.settings.sharpness
    for number in range(form.settings.layers if k > 1 else 0):
        name = f"sum-{number}"
        search = Searched(f"{name}-camera", k)
        lists, reach, kept = items.edges(search, name=name)
        made = items.run(
            gallery_work.sum_mutual, name, rows=items.now, lists=lists, kept=kept,
            sharpness=sharpness,
        )  # fmt: skip
        asking = asking.read(
            query_work.read_mutual,
            name,
            queries=asking.now,
            columns=items.columns(search, asking=len(asking)),
            graph=GraphParts(reach, items.groups, items.cameras, k),
            sharpness=sharpness,
        )
        items = replace(items, now=made)
    return items, asking


def through_gate(items: Items, asking: Asking) -> tuple[Items, Asking]:
    """Join what standardised rows read through the gate to their sums."""
    search, first = Searched("gate", NEAREST + 1), items.as_first()
    found = items.steps.run(
        gallery_work.list_others, "gate-lists", gives=["lists", "cosines", "profile"],
        columns=first.columns(search)[0],
    )  # fmt: skip
    profile = np.concatenate(list(found.pop("profile"))).sum(axis=0) / len(items.order)
    gated = GatedParts(first.now, items.camids, **found, profile=profile.astype(np.float32))
    reading: dict[str, Any] = {"gated": gated, "file": items.place.file}
    made = items.run(gallery_work.read_gated, "gate", summed=items.now, **reading)
    answers = asking.read(
        query_work.read_through_gate,
        "gate",
        queries=asking.first,
        summed=asking.now.rows,
        columns=first.columns(search, asking=len(asking))[0],
        **reading,
    )
    return replace(items, now=made), answers


def by_layers(
    model: NFormer, items: Items, *, asking: Asking, chosen: Tensor, seed: int
) -> tuple[Parts, Asking]:
    """Take rows through the model's layers as `refine_isolated` does; return the last states.

    chosen: [layers, l], the landmarks, by the numbers of the gallery as it came, drawn by the seed.
    """
    plain = items.as_one()
    method = "auto" if isinstance(model, NFormerOnClosedForm) else items.place.method
    search = Searched("layers", model.neighbours, method)
    lists, reach, kept = plain.edges(search, name="layers", mutual=model.mask == "reciprocal")
    marks = np.argsort(items.order)[chosen.numpy()]  # [layers, l]
    hidden = [items.now]
    for number, rows in enumerate(marks):
        made = items.run(
            gallery_work.take_through_layer, f"draw-{seed}-layer-{number}", states=hidden[-1],
            lists=lists, kept=kept, file=items.place.file, number=number, marks=rows,
        )  # fmt: skip
        hidden.append(made)
    answers = asking.read(
        query_work.read_layers,
        f"draw-{seed}-layers",
        queries=asking.now,
        columns=plain.columns(search, asking=len(asking))[0],
        hidden=hidden[:-1],
        marks=np.stack([layer[rows] for layer, rows in zip(hidden, marks, strict=False)]),
        reach=reach,
        file=items.place.file,
    )
    return hidden[-1], answers
