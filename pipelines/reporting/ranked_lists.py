"""The queries that a report shows: ranked lists with pictures, and what NFormer listened to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..artifacts.embeddings import load_embeddings
from ..artifacts.graph import graphs_of
from ..artifacts.nformer import load_nformer
from ..artifacts.ranking import load_average_precision, load_query_rows, load_ranking
from ..artifacts.run import Run
from ..data.images import UnreadableImage, read_image
from ..embeddings import Embeddings
from ..errors import PipelineError
from ..neighbours.checked import unit_rows
from ..ranking.matches import Matches
from ..ranking.metrics import Ranking
from ..seeding import numpy_generator
from .page import Example, Item, data_uri

if TYPE_CHECKING:
    from ..gallery.explanation import LayerWeights
    from ..gallery.graph import Known
    from ..gallery.refinement import GalleryState

BASELINE, NFORMER = "baseline", "nformer"
SHOWN = 10  # items of a list
HEARD = 6  # items that NFormer listened to
LARGE = 50_000  # gallery items above which it is not refined again to tell the attention


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a run knows of each query: embeddings before and after, and its average precision.

    before, after: query and gallery, rows as the lists name them; after is None where there is
                   no refined.h5 of these embeddings.
    precision: [Q] by result.   compared: the result that stands beside the baseline, or "".
    """

    query: Embeddings
    gallery: Embeddings
    refined: tuple[Embeddings, Embeddings] | None
    precision: dict[str, np.ndarray]
    compared: str

    @staticmethod
    def of(run: Run) -> "Evidence":
        """Read a run that has been evaluated."""
        lists, embeddings = run.artifact("ranking.h5"), run.artifact("embeddings.h5")
        rows = load_query_rows(lists)
        precision = load_average_precision(lists)
        others = [name for name in precision if name != BASELINE]
        compared = NFORMER if NFORMER in others else (others[-1] if others else "")
        return Evidence(
            query=load_embeddings(embeddings, "query").select(rows),
            gallery=load_embeddings(embeddings, "gallery"),
            refined=_refined(run) if compared == NFORMER else None,
            precision=precision,
            compared=compared,
        )

    @property
    def gain(self) -> np.ndarray:
        """How much the compared result's AP is above the baseline's, [Q]; NaN without a match."""
        if BASELINE not in self.precision or not self.compared:
            return np.full(len(self.query), np.nan)
        return self.precision[self.compared] - self.precision[BASELINE]


def examples_of(
    run: Run,
    evidence: Evidence,
    *,
    count: int,
    seed: int,
    state: "GalleryState | None" = None,
) -> tuple[list[Example], list[str]]:
    """Return `count` queries each with the largest gains, the largest losses, and by chance.

    state: the gallery as the evaluation refined it; without it, it is refined again.
    """
    album = Album(run)
    chosen = list(_chosen(evidence, count, random=numpy_generator(seed, "report")))
    names = [name for name in (BASELINE, evidence.compared) if name in evidence.precision]
    rankings = {name: load_ranking(run.artifact("ranking.h5"), name) for name in names}
    examples = []
    for kind, row in chosen:
        examples.append(
            Example(
                anchor=f"q{row}",
                name=evidence.query.names[row],
                pid=int(evidence.query.pids[row]),
                camid=int(evidence.query.camids[row]),
                kind=kind,
                precision={name: float(evidence.precision[name][row]) for name in names},
                lists={
                    name: _listed(evidence, name, ranking=ranking, row=row, album=album)
                    for name, ranking in rankings.items()
                },
                picture=album.picture(evidence.query.names[row]),
            )
        )
    untold = _untold(run, evidence)
    if examples and evidence.compared == NFORMER and not untold:
        kept = np.flatnonzero(evidence.gallery.pids >= 0)
        queries = evidence.query.select(np.array([row for _, row in chosen]))
        layers: list[LayerWeights] = []
        _refine(run, evidence.gallery.select(kept), queries=queries, state=state, explain=layers)
        examples = _with_attention(evidence, examples, layers=layers, kept=kept, album=album)
    return examples, [*album.notes(), *([untold] if untold else [])]


def _untold(run: Run, evidence: Evidence) -> str:
    """Return why the page does not say what NFormer listened to, "" where it does."""
    if evidence.compared != NFORMER:
        return ""
    if len(evidence.gallery) > LARGE:
        return (
            f"What NFormer listened to is left out: the gallery has {len(evidence.gallery):,} "
            f"items, and above {LARGE:,} it is not refined again for the page. nformer search "
            "tells it for single pictures."
        )
    if not _same_nformer(run):
        return (
            "What NFormer listened to is left out: nformer.pt is not the one that was evaluated; "
            f"run nformer evaluate --run {run.folder} again."
        )
    return ""


class Album:
    """Pictures by name; those that are not there are counted."""

    def __init__(self, run: Run) -> None:
        self.root = str(run.facts("embeddings.h5").get("root") or "")
        self.pictures: dict[str, str] = {}

    def picture(self, name: str) -> str:
        """Return an image as a data URI, or "" where there is none."""
        if name not in self.pictures:
            self.pictures[name] = self._read(name)
        return self.pictures[name]

    def notes(self) -> list[str]:
        """Return what to say about pictures that are not there."""
        missing = sum(not uri for uri in self.pictures.values())
        if not missing:
            return []
        place = f"below {self.root}" if self.root else "known of for these embeddings"
        return [f"{missing} of {len(self.pictures)} images are not {place}: their names are shown."]

    def _read(self, name: str) -> str:
        if not self.root:
            return ""
        try:
            return data_uri(read_image(Path(self.root) / name))
        except UnreadableImage:
            return ""


def _chosen(
    evidence: Evidence, count: int, *, random: np.random.Generator
) -> Iterator[tuple[str, int]]:
    """Yield the kind and the row of each query to show, none twice."""
    first = next(iter(evidence.precision.values()))
    left = set(np.flatnonzero(np.isfinite(first)).tolist())
    order = np.argsort(-evidence.gain, kind="stable").tolist()  # NaN last
    gains = [row for row in order if evidence.gain[row] > 0][:count]
    losses = [row for row in order[::-1] if evidence.gain[row] < 0][:count]
    for kind, rows in (("gain", gains), ("loss", losses)):
        for row in rows:
            left.discard(row)
            yield kind, row
    rest = np.array(sorted(left), np.int64)
    for row in sorted(random.permutation(rest)[:count].tolist()):
        yield "sample", row


def _listed(
    evidence: Evidence, name: str, *, ranking: Ranking, row: int, album: Album
) -> list[Item]:
    """Return the head of a list as the metrics count it, skipped items at their places."""
    items = []
    for rank, (index, nearness, right) in enumerate(
        zip(ranking.index[row], ranking.nearness[row], ranking.match[row], strict=True), start=1
    ):
        if index < 0 or rank > SHOWN:
            break
        item = _item(evidence.gallery, int(index), right=bool(right), album=album)
        items.append(replace(item, rank=rank, nearness=float(nearness)))
    pair = _pair_of(evidence, name)
    if pair is None or not items:
        return items
    return _with_skipped(evidence, pair, row=row, items=items, album=album)


def _with_skipped(
    evidence: Evidence,
    pair: tuple[Embeddings, Embeddings],
    *,
    row: int,
    items: list[Item],
    album: Album,
) -> list[Item]:
    """Add the items of the query's own person and camera that come as near as those listed."""
    own = Matches(evidence.query, evidence.gallery.pids, camids=evidence.gallery.camids).of(row)[1]
    if not len(own):
        return items
    asked = unit_rows(pair[0].features[row : row + 1], "query")
    nearness = (unit_rows(pair[1].features[own], "gallery") @ asked.T)[:, 0]  # [M, d] x [d, 1]
    last = min(item.nearness for item in items if item.nearness is not None)
    skipped = [
        replace(_item(evidence.gallery, int(index), right=True, album=album), nearness=float(value))
        for index, value in zip(own, nearness, strict=True)
        if value >= last
    ]
    return sorted(items + skipped, key=lambda item: -(item.nearness or 0.0))


def _item(gallery: Embeddings, row: int, *, right: bool, album: Album) -> Item:
    name = gallery.names[row]
    return Item(
        name=name,
        pid=int(gallery.pids[row]),
        camid=int(gallery.camids[row]),
        right=right,
        picture=album.picture(name),
    )


def _pair_of(evidence: Evidence, name: str) -> tuple[Embeddings, Embeddings] | None:
    """Return the embeddings whose cosine ranks a result; None where distances rank it."""
    if name == BASELINE:
        return evidence.query, evidence.gallery
    return evidence.refined if name == NFORMER else None


def _refined(run: Run) -> tuple[Embeddings, Embeddings] | None:
    """Return refined.h5 where it is there and of these embeddings, its gallery's junk put back."""
    try:
        path = run.artifact("refined.h5")
    except PipelineError:  # missing or stale: the report goes without
        return None
    query, gallery = load_embeddings(path, "query"), load_embeddings(path, "gallery")
    whole = load_embeddings(run.artifact("embeddings.h5"), "gallery")
    if len(gallery) == len(whole):
        return query, gallery
    features = np.ones((len(whole), gallery.dim), np.float32)
    features[whole.pids >= 0] = gallery.features
    return query, whole.with_features(features)


def _same_nformer(run: Run) -> bool:
    """Return whether the run's nformer.pt is the one that was evaluated."""
    evaluated, there = run.manifest("metrics.json"), run.manifest("nformer.pt")
    if evaluated is None or there is None:
        return False
    return evaluated.inputs.get("nformer.pt") == there.sha256


def _refine(
    run: Run,
    gallery: Embeddings,
    *,
    queries: Embeddings,
    state: "GalleryState | None",
    explain: "list[LayerWeights]",
) -> None:
    """Refine queries as they were evaluated, to learn the shares of what each layer reads."""
    from ..gallery.states import refine_gallery, refine_queries

    evaluated, refined = run.manifest("metrics.json"), run.manifest("refined.h5")
    config = evaluated.config if evaluated else {}
    aware = refined is None or refined.facts.get("camera_aware", True)
    if state is None:
        model = load_nformer(run.artifact("nformer.pt"))
        model.neighbours = config.get("neighbours") or model.neighbours
        state = refine_gallery(
            model,
            gallery if aware else gallery.features,
            landmarks=config.get("landmarks", "random"),
            seed=config.get("seed", 0),
            known=_known_lists(run, model.neighbours),
        )
    refine_queries(state, queries if aware else queries.features, explain=explain)


def _with_attention(
    evidence: Evidence,
    examples: Sequence[Example],
    *,
    layers: "Sequence[LayerWeights]",
    kept: np.ndarray,
    album: Album,
) -> list[Example]:
    """Add to each example what NFormer read, layer by layer; kept: the gallery's rows, [G]."""
    told = []
    for number, example in enumerate(examples):
        heard = []
        for item, shares in _most_heard(layers, number):
            row = int(kept[item])
            entry = _item(
                evidence.gallery,
                row,
                right=int(evidence.gallery.pids[row]) == example.pid,
                album=album,
            )
            heard.append(replace(entry, shares=shares))
        own = tuple(float(layer.own[number]) for layer in layers)
        told.append(replace(example, own=own, heard=heard))
    return told


def _known_lists(run: Run, k: int) -> "Known | None":
    """Return the gallery's lists as graph.h5 has them, where they are long enough."""
    graph = graphs_of(run).get("gallery")
    if graph is None or graph.index.shape[1] < k:
        return None
    return lambda _: graph.index


def _most_heard(
    layers: "Sequence[LayerWeights]", number: int
) -> Iterator[tuple[int, tuple[float, ...]]]:
    """Yield the items that a query reads most, and their share at each layer."""
    shares: dict[int, list[float]] = {}
    for depth, layer in enumerate(layers):
        lent = zip(layer.items[number].tolist(), layer.lent[number].tolist(), strict=True)
        for item, share in lent:
            shares.setdefault(item, [0.0] * len(layers))[depth] += share
    nearest = sorted(shares, key=lambda item: (-sum(shares[item]), item))
    for item in nearest[:HEARD]:
        if sum(shares[item]) > 0:
            yield item, tuple(shares[item])
