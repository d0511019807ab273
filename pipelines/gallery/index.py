"""A gallery to search with new pictures: built, added to, removed from, and asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..embeddings import Embeddings
from ..labels import NUMBERS, LabelNames
from ..neighbours.checked import check_widths, unit_rows
from ..neighbours.inverted_lists import InvertedLists
from ..neighbours.reciprocity import nearest_of
from ..nformer.model import NFormer
from ..nformer.on_closed_form import NFormerOnClosedForm
from ..refiners.closed_form import camera_ids
from .asked import all_removed
from .explanation import LayerWeights
from .refinement import GalleryState, prepare
from .states import add_items, refine_gallery, refine_prepared, remove_items


@dataclass(frozen=True, eq=False)
class GalleryIndex:
    """A gallery's rows, labels and, where there is an NFormer, its refined states.

    rows:  [G, d] float32 of length 1, refined where there is a state: what is ranked.
    state: None without an NFormer: the embeddings are searched as they are.
    members: the names of the pictures that each item is made of, a line each, "" for its own;
             nothing where no item is a tracklet.
    labels:  the names of identities and cameras that are no numbers.
    times:   [G] int64, when each was taken, -1 where not known; nothing where none is.
    lists:   of a large index that is served, where to look: for `rows` and, where that differs,
             `plain`. Empty: every item is compared.
    """

    rows: Tensor
    state: GalleryState | None
    pids: np.ndarray
    camids: np.ndarray
    names: Sequence[str]
    members: Sequence[str] = ()
    labels: LabelNames = NUMBERS
    times: np.ndarray | tuple[()] = ()
    lists: Mapping[str, InvertedLists] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dim(self) -> int:
        """The width of the embeddings."""
        return int(self.rows.shape[1])

    @property
    def refined_by(self) -> str:
        """What the model is that refined the rows; "" where they are as the network made them."""
        if self.state is None or (self.state.start and self.state.start.domain.foreign):
            return ""
        return self.state.model.kind

    @property
    def plain(self) -> Tensor:
        """The rows before refinement, [G, d] of length 1."""
        if self.state is None:
            return self.rows
        return self.state.hidden[0] if self.state.start is None else self.state.start.rows

    def camera_number(self, given: int | str, *, option: str = "camera") -> int:
        """Return the number of a camera of the items by number or name; see `LabelNames`."""
        known = bool((np.asarray(self.camids) >= 0).any())
        return self.labels.camera_number(given, known=known, option=option)


def build_index(
    gallery: Embeddings,
    model: NFormer | None,
    *,
    marks: Tensor | None = None,
    seed: int = 0,
    state: GalleryState | None = None,
    members: Sequence[str] = (),
    names: LabelNames = NUMBERS,
) -> GalleryIndex:
    """Return the index of a gallery.

    members, names: see `GalleryIndex`.

    marks: the landmarks' states [layers, l, d] that every later change keeps; without them they
           are drawn from the gallery with `seed`.
    state: a refinement made before, used where it is the same: of all items and their cameras, by
           a closed form alone, which has no landmarks.
    """
    listed = members if any(members) else ()
    times = gallery.columns.get("time", ())
    labels = (gallery.pids, gallery.camids, gallery.names, listed, names, times)
    if model is None:
        return GalleryIndex(torch.from_numpy(unit_rows(gallery.features, "gallery")), None, *labels)
    if state is None or not _is_of(state, gallery, model=model):
        state = refine_gallery(model, gallery, seed=seed, marks=marks)
    return GalleryIndex(_ranked(state), state, *labels)


def extended(
    index: GalleryIndex, items: Embeddings, *, names: LabelNames | None = None
) -> GalleryIndex:
    """Return the index with items after those there, equal to building it with them.

    names: of identities and cameras, the index's and new ones; None: the index's.
    """
    labels = (
        np.concatenate([index.pids, items.pids]),
        np.concatenate([index.camids, items.camids]),
        [*index.names, *items.names],
        [*index.members, *[""] * len(items)] if len(index.members) else (),
        index.labels if names is None else names,
        _times(index, items),
    )
    check_widths(items.features, index.rows)
    if index.state is None:
        new = torch.from_numpy(unit_rows(items.features, "new embeddings"))
        return GalleryIndex(torch.cat([index.rows, new]), None, *labels)
    state = add_items(index.state, items)
    return GalleryIndex(_ranked(state), state, *labels)


def reduced(index: GalleryIndex, gone: np.ndarray) -> GalleryIndex:
    """Return the index without the rows marked, [G] bool, equal to building it without them.

    Raises:
        BadInput: nothing would remain.
    """
    keep = ~gone
    if not keep.any():
        raise all_removed(len(gone))
    names, members = (
        [name for name, stays in zip(column, keep, strict=False) if stays]
        for column in (index.names, index.members)
    )
    times = index.times[keep] if isinstance(index.times, np.ndarray) else ()
    labels = (index.pids[keep], index.camids[keep], names, members, index.labels, times)
    if index.state is None:
        return GalleryIndex(index.rows[torch.from_numpy(keep)], None, *labels)
    state = remove_items(index.state, torch.from_numpy(gone))
    return GalleryIndex(_ranked(state), state, *labels)


def unit_queries(index: GalleryIndex, queries: Embeddings) -> Tensor:
    """Return queries [Q, d] checked and of length 1: what is refined, ranked and compared after."""
    check_widths(queries.features, index.rows)
    if index.state is None:
        return torch.from_numpy(unit_rows(queries.features, "query embeddings"))
    return prepare(index.state.model, queries.features, what="query embeddings")


def refined_queries(
    index: GalleryIndex,
    queries: Tensor,
    *,
    camids: np.ndarray,
    explain: list[LayerWeights] | None = None,
) -> Tensor:
    """Return unit queries [Q, d] refined, each on its own; `explain` as for `refine_queries`."""
    if index.state is None:
        return queries
    asking = camera_ids(camids, len(queries), device=queries.device)
    near = None if index.state.start else index.lists.get("plain")
    refined = refine_prepared(index.state, queries, camids=asking, explain=explain, lists=near)
    return functional.normalize(refined)


def most_similar(
    index: GalleryIndex, queries: Tensor, *, top: int, among: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the `top` most similar items of refined queries: cosine and rows, [Q, top].

    among: [M] int64, the rows that count; None: all.
    """
    if among is None:
        return _nearest(index, queries, where="rows", k=top)
    similarity, place = nearest_of(queries, index.rows[among], k=top)
    return similarity, among[place]


def nearest_plain(index: GalleryIndex, queries: Tensor, *, among: Tensor | None = None) -> Tensor:
    """Return the largest similarity of unit queries with any item, before refinement: [Q].

    among: as for `most_similar`.

    Whether somebody is there at all is told by this: refinement draws a stranger into the cluster
    that it comes nearest to, and nearly all reach a similarity of 1 there.
    """
    if among is None:
        where = "rows" if index.plain is index.rows else "plain"
        return _nearest(index, queries, where=where, k=1)[0][:, 0]
    return nearest_of(queries, index.plain[among], k=1)[0][:, 0]


def _nearest(index: GalleryIndex, queries: Tensor, *, where: str, k: int) -> tuple[Tensor, Tensor]:
    """Return the nearest of an index's `rows` or `plain` rows, by its lists where it has some."""
    keys: Tensor = getattr(index, where)
    if where in index.lists:
        return index.lists[where].nearest(queries, keys, k=k)
    return nearest_of(queries, keys, k=k)


def _times(index: GalleryIndex, items: Embeddings) -> np.ndarray | tuple[()]:
    """Return the times of an index's items and of new ones; nothing where none is known."""
    new = items.columns.get("time")
    if new is None and not len(index.times):
        return ()
    there = index.times if len(index.times) else np.full(len(index), -1)
    return np.concatenate([there, np.full(len(items), -1) if new is None else new])


def _is_of(state: GalleryState, gallery: Embeddings, *, model: NFormer) -> bool:
    """Return whether a model's closed form would refine a gallery to this state."""
    if state.start is None or not isinstance(model, NFormerOnClosedForm) or len(model.blocks):
        return False
    if state.model.neighbours != model.neighbours:
        return False
    if state.start.domain.assume != model.closed_form.assume:
        return False
    return np.array_equal(state.start.camids.cpu().numpy(), gallery.camids)


def _ranked(state: GalleryState) -> Tensor:
    return functional.normalize(state.refined)
