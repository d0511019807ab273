"""Embeddings -> refined embeddings: one set together, or queries that do not see each other."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from logging import getLogger
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..config import require_papers_model
from ..embeddings import Embeddings, kind_of
from ..errors import BadInput
from ..neighbours.edges import Edges
from ..neighbours.graph import Neighbourhoods
from ..nformer.landmarks import choose_landmarks, given_landmarks
from ..nformer.layerwise import embed, evaluating, fill_up, layer_by_layer
from ..nformer.model import NFormer
from ..nformer.on_closed_form import NFormerOnClosedForm
from ..progress import Progress, Silent
from ..refiners.closed_form import ClosedFormGallery, camera_ids
from ..refiners.domain_shift import Domain
from ..refiners.training_free import as_embeddings, as_given
from .graph import GalleryGraph, Known, gallery_graph, query_lists

Protocol = Literal["isolated", "joint", "paper"]
SHORTEST, LONGEST = 1e-6, 1e15  # lengths that float32 can square with all their digits
LOG = getLogger("nformer")


@dataclass(frozen=True, eq=False)
class GalleryState:
    """A gallery, refined, with all that refining one more query or item needs.

    model:  the NFormer that refined it.
    hidden: [layers + 1] tensors [G, d]: the gallery's states before each layer and after the last;
            the first are the embeddings, L2-normalised.
    marks:  [layers, l, d], the landmarks' states. They are recorded once and stay, whatever is
            added or removed: that is what leaves everything far from a change as it was.
    graph:  the cosine graph's lists and reach; without lists where each layer makes its own.
    start:  of a model on a closed form, the gallery as that refines it; hidden[0] is its last.
    """

    model: NFormer
    hidden: tuple[Tensor, ...]
    marks: Tensor
    graph: GalleryGraph
    start: ClosedFormGallery | None = None

    @staticmethod
    def of(
        model: NFormer,
        layers: Sequence[tuple[Tensor, Tensor]],
        *,
        graph: GalleryGraph,
        start: ClosedFormGallery | None,
    ) -> "GalleryState":
        """Return the state made of each layer's states and landmarks, and of the last states."""
        hidden, marks = zip(*layers, strict=True)
        none = hidden[0].new_zeros(0, 1, hidden[0].shape[1])
        kept = torch.stack(marks[:-1]) if len(layers) > 1 else none
        return GalleryState(model, hidden, kept, graph, start)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.hidden[0])

    @property
    def refined(self) -> Tensor:
        """The refined gallery, [G, d] float32."""
        with torch.no_grad():
            refined = embed(self.model, self.hidden[-1])
            return self.model.after(self.hidden[0], refined, start=self.start)


def refine(
    model: NFormer,
    query: Any,
    gallery: Any,
    *,
    query_camids: Any = None,
    gallery_camids: Any = None,
    protocol: Protocol = "isolated",
    landmarks: Any = "random",
    seed: int = 0,
    method: str = "auto",
    progress: Progress = Silent(),
) -> tuple[Any, Any]:
    """Refine a query [Q, d] and a gallery [G, d].

    query, gallery: Embeddings, numpy or torch; what comes back is of the same kind, tensors on the
               device that they came from.
    camids:    [Q] and [G], for models that make use of them; Embeddings have their own.
    protocol:  "isolated": the gallery reads the gallery; each query reads itself and the gallery,
               as if it were the only one. "joint": all in one set, as the released code does.
               "paper": one set in which queries do not read each other, but the gallery reads
               them (section 4.2); for an NFormer without a closed form.
    landmarks: "random", "kmeans" or "farthest", chosen with `seed`, or rows [layers, l]: of the
               gallery where isolated, else of the query and then the gallery.
    method:    how neighbours are searched, as for `search`: exact, or approximate for large sets.

    Raises:
        BadInput: no model, an unknown protocol, or one that is not this model's; widths that differ
            from the model's, NaN or zero rows.
    """
    require_model(model)
    refined = next(
        refine_draws(
            model,
            as_embeddings(query, query_camids),
            gallery=as_embeddings(gallery, gallery_camids),
            seeds=[seed],
            protocol=protocol,
            landmarks=landmarks,
            method=method,
            progress=progress,
        )
    )
    return as_given(query, refined[0]), as_given(gallery, refined[1])


def refine_draws(
    model: NFormer,
    query: Embeddings,
    *,
    gallery: Embeddings,
    seeds: Sequence[int],
    protocol: Protocol = "isolated",
    landmarks: Any = "random",
    near: Neighbourhoods | None = None,
    method: str = "auto",
    record: Callable[[Tensor], None] = lambda chosen: None,
    keep: Callable[[GalleryState], None] | None = None,
    tell: Callable[[Domain], None] = lambda domain: None,
    progress: Progress = Silent(),
) -> Iterator[tuple[Embeddings, Embeddings]]:
    """Yield what `refine` returns for each seed of the landmarks; the graph is built once.

    near:   the graphs of these embeddings, read by a model that looks at embeddings as they are
            (one with a closed form looks at its own rows, and searches them).
    record: is told the rows [layers, l] that are landmarks in each draw.
    keep:   is given the refined gallery of each draw with its states, where isolated.
    tell:   is told whether the gallery looks like a closed form's training set.
    """
    if protocol not in get_args(Protocol):
        raise BadInput(f"protocol {protocol!r}: unknown; known are {', '.join(get_args(Protocol))}")
    apart, one_set = len(query) if protocol == "paper" else 0, protocol != "isolated"
    require_papers_model(protocol, kind=model.kind)
    query_rows = prepare(model, query.features, what="query embeddings")
    gallery_rows = prepare(model, gallery.features, what="gallery embeddings")
    query_camids = camera_ids(query.camids, len(query), device=model.device)
    camids = camera_ids(gallery.camids, len(gallery), device=model.device)
    if one_set:
        gallery_rows, camids = (
            torch.cat([query_rows, gallery_rows]),
            torch.cat([query_camids, camids]),
        )
    require_rows(gallery_rows)
    if apart and near is None:
        near = Neighbourhoods(query, gallery, device=str(model.device), method=method)
    lists, start = KnownLists.of(near, protocol), started(model, gallery_rows, camids=camids)
    if start is not None and isinstance(model, NFormerOnClosedForm):
        tell(start.domain)
        lists, gallery_rows = KnownLists(), start.refined  # other rows than `near` knows
        if protocol == "isolated":
            query_rows = model.closed_form.query(start, query_rows, camids=query_camids)
    graph = gallery_graph(
        model, gallery_rows, known=lists.gallery, method=method, progress=progress
    )
    for seed in seeds:
        chosen = pick_landmarks(model, gallery_rows, landmarks=landmarks, seed=seed)
        record(chosen)
        if one_set:
            rows = refine_rows(model, gallery_rows, landmarks=chosen, graph=graph, apart=apart)
            together = model.after(gallery_rows, rows, start=start)
            refined = together[: len(query)], together[len(query) :]
        else:
            layers: list[tuple[Tensor, Tensor]] | None = None if keep is None else []
            both = refine_isolated(
                model,
                query_rows,
                gallery=gallery_rows,
                landmarks=chosen,
                graph=graph,
                known=lists.query,
                method=method,
                layers=layers,
            )
            if keep is not None and layers is not None:
                keep(GalleryState.of(model, layers, graph=graph, start=start))
            refined = (
                model.after(query_rows, both[0], start=start),
                model.after(gallery_rows, both[1], start=start),
            )
        yield query.with_features(refined[0]), gallery.with_features(refined[1])


@dataclass(frozen=True)
class KnownLists:
    """Neighbour lists searched before: from k to those of a set [N, k], and of queries [Q, k]."""

    gallery: Known | None = None
    query: Known | None = None

    @staticmethod
    def of(near: Neighbourhoods | None, protocol: str) -> "KnownLists":
        """Return the lists that a protocol reads; none without neighbourhoods."""
        if near is None:
            return KnownLists()
        if protocol == "joint":
            return KnownLists(lambda k: near.joint(k).index)
        if protocol == "paper":
            return KnownLists(near.queries_apart)
        return KnownLists(lambda k: near.gallery(k).index, lambda k: near.query(k).index)


def average_draws(
    draws: Sequence[tuple[Embeddings, Embeddings]],
) -> tuple[Embeddings, Embeddings]:
    """Return the mean of refined embeddings over draws of the landmarks, query and gallery."""

    def mean(side: int) -> Embeddings:
        total = sum(np.asarray(draw[side].features, np.float64) for draw in draws)
        return draws[0][side].with_features(total / len(draws))

    return mean(0), mean(1)


def refine_set(
    model: NFormer,
    features: Any,
    *,
    landmarks: Any = None,
    seed: int = 0,
    camids: Any = None,
    method: str = "auto",
    progress: Progress = Silent(),
) -> Any:
    """Refine one set in which everything sees everything, as the released code does.

    features:  [N, d], numpy, torch or Embeddings, of any length of rows: they are L2-normalised
               here.
    landmarks: [layers, l] row numbers; or "random" (the default), "kmeans", "farthest".
    camids:    [N] camera ids, for models that make use of them; None: unknown, or those of the
               Embeddings.
    method:    how neighbours are searched, as for `search`: exact, or approximate for large sets.
    returns:   [N, d] float32, after the BNNeck; of the kind given, on the same device.

    Raises:
        BadInput: another width than the model's; NaN, infinite or zero rows (named).
    """
    require_model(model)
    given = as_embeddings(features, camids)
    rows = prepare(model, given.features, what="embeddings")
    require_rows(rows)
    start = started(model, rows, camids=camera_ids(given.camids, len(rows), device=model.device))
    rows = rows if start is None else start.refined
    chosen = pick_landmarks(
        model, rows, landmarks="random" if landmarks is None else landmarks, seed=seed
    )
    graph = gallery_graph(model, rows, method=method, progress=progress)
    refined = refine_rows(model, rows, landmarks=chosen, graph=graph)
    refined = model.after(rows, refined, start=start)
    return as_given(features, given.with_features(refined))


def prepare(model: NFormer, features: Any, *, what: str) -> Tensor:
    """Return embeddings checked and L2-normalised, [N, d] float32 on the model's device."""
    if not isinstance(features, Tensor):
        features = torch.from_numpy(np.array(features, dtype=np.float32, order="C"))
    rows = features.detach().to(model.device, torch.float32)
    if rows.ndim != 2 or rows.shape[1] != model.dim:
        raise BadInput(
            f"the {what} have the shape {list(rows.shape)}; this NFormer refines "
            f"[N, {model.dim}]: it was trained on embeddings of that width"
        )
    length = torch.linalg.vector_norm(rows, dim=1)
    odd = (~((length > SHORTEST) & (length < LONGEST))).nonzero()[:, 0]  # NaN is neither
    if len(odd):
        _refuse(
            odd[~rows[odd].isfinite().all(dim=1)],
            len(rows),
            what=f"{what} hold NaN or infinite values",
        )
        largest = rows[odd].abs().amax(dim=1, keepdim=True)
        _refuse(odd[largest[:, 0] == 0], len(rows), what=f"{what} are zero: they have no direction")
        rows = rows.index_copy(0, odd, rows[odd] / largest)  # squares lose digits
    return functional.normalize(rows)


def pick_landmarks(model: NFormer, rows: Tensor, *, landmarks: Any, seed: int) -> Tensor:
    """Return the landmarks of a set as [layers, l] int64: chosen by name and seed, or as given."""
    layers = len(model.blocks)
    require_rows(rows)
    if not layers:
        return torch.zeros(0, 1, dtype=torch.int64)  # a closed form has none
    if not isinstance(landmarks, str):
        return given_landmarks(landmarks, layers=layers, rows=len(rows))
    for name, wanted in (("landmarks", model.landmarks), ("neighbours", model.neighbours)):
        if wanted > len(rows):
            LOG.warning("%d %s, but the set has %d rows: all are used", wanted, name, len(rows))
    return choose_landmarks(
        rows,
        layers=layers,
        count=model.landmarks,
        choice=landmarks,  # type: ignore[arg-type]  # checked there
        seed=seed,
    )


def started(model: NFormer, rows: Tensor, *, camids: Tensor) -> ClosedFormGallery | None:
    """Return a gallery as a model's closed form refines it; None for a model without one."""
    return model.start(rows, camids) if isinstance(model, NFormerOnClosedForm) else None


def require_model(model: Any) -> None:
    """Raise BadInput where something else than an NFormer is given to refine with."""
    if not isinstance(model, NFormer):
        raise BadInput(
            f"the model is {kind_of(model)}; an NFormer is wanted, before the embeddings: "
            "refine(load_nformer('nformer.pt'), query, gallery)"
        )


def require_rows(rows: Tensor) -> None:
    """Raise BadInput where a set is empty."""
    if not len(rows):
        raise BadInput("there is nothing to refine against: the set has no embeddings")


@torch.no_grad()
def refine_rows(
    model: NFormer, rows: Tensor, *, landmarks: Tensor, graph: GalleryGraph, apart: int = 0
) -> Tensor:
    """Refine one prepared set whose graph is known: [N, d] -> [N, d].

    apart: the first rows, as many, do not read each other; the graph has no such edge.
    """
    states = rows.clone()
    with evaluating(model):
        for _ in layer_by_layer(model, states, edges=graph.edges, landmarks=landmarks, apart=apart):
            pass
    return embed(model, states)


@torch.no_grad()
def refine_isolated(
    model: NFormer,
    query: Tensor,
    *,
    gallery: Tensor,
    landmarks: Tensor,
    graph: GalleryGraph,
    known: Known | None = None,
    method: str = "auto",
    layers: list[tuple[Tensor, Tensor]] | None = None,
) -> tuple[Tensor, Tensor]:
    """Refine prepared queries [Q, d] against a prepared gallery [G, d], each on its own.

    layers: the gallery's states before each layer, with the landmarks' states, and after the last
            are appended to it.
    """
    states, query_states = gallery.clone(), fill_up(query)
    lists = query_lists(
        model,
        query_states,
        count=len(query),
        gallery=gallery,
        graph=graph,
        known=known,
        method=method,
    )
    edges = None
    if lists is not None:
        near, kept = (part[:, None] for part in lists)
        edges = Edges.of(near, kept, heads=model.heads, sources=len(gallery))
    with evaluating(model):
        for layer in layer_by_layer(model, states, edges=graph.edges, landmarks=landmarks):
            if layers is not None:
                layers.append((states.clone(), layer.marks))
            query_states = layer.read_by(model, query_states, edges=edges)
    if layers is not None:
        layers.append((states, states[:0]))
    return embed(model, query_states[: len(query)]), embed(model, states)


def _refuse(bad: Tensor, rows: int, *, what: str) -> None:
    """Raise BadInput naming the first of the rows that are bad, [M] int64."""
    if len(bad):
        listed = ", ".join(map(str, bad[:5].tolist())) + ("…" if len(bad) > 5 else "")
        raise BadInput(
            f"{len(bad)} of {rows} {what} (rows {listed}); remove them, or look at the network "
            "that made them"
        )
