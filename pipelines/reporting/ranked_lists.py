"""The queries that a report shows: ranked lists with pictures, and what refined them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..artifacts.embeddings import load_embeddings, load_labels
from ..artifacts.graph import graphs_of
from ..artifacts.nformer import load_nformer
from ..artifacts.ranking import load_average_precision, load_query_rows, load_ranking
from ..artifacts.results import Evaluation, ResultRow
from ..artifacts.run import Run
from ..data.images import UnreadableImage, read_item
from ..embeddings import Embeddings
from ..errors import PipelineError
from ..flow import command_line
from ..labels import NUMBERS, LabelNames
from ..neighbours.checked import unit_rows
from ..ranking.matches import Matches
from ..ranking.ranked_lists import Ranking
from ..ranking.rules import MARKET1501, Rules
from ..seeding import numpy_generator
from .page import PICTURE, PICTURED, ROOM, Example, Item, Row, data_uri, not_there, reading_of

if TYPE_CHECKING:
    from ..gallery.explanation import LayerWeights
    from ..gallery.refinement import GalleryState

BASELINE, NFORMER = "baseline", "nformer"
SHOWN = 10  # items of a list
HEADS = 5  # items of a list in the table of all queries
READ = 6  # items shown that NFormer read
Pair = tuple[Embeddings, Embeddings]
LARGE = 50_000  # gallery items above which it is not refined again to tell the attention


@dataclass(frozen=True, eq=False)
class Queries:
    """What a run knows of each query: embeddings before and after, and its average precision.

    before, after: query and gallery, rows as the lists name them; after is None where there is
                   no refined.h5 of these embeddings.
    precision: [Q] by result.   compared: the result that stands beside the baseline, or "".
    labels:    of results, as tables show them: a closed form is not called nformer.
    names:     what identities and cameras are called.
    rules:     whom a query is compared with; where galleries are drawn, within one.
    counted:   whether the figures are counted from the lists that are kept: of images, and of the
               whole gallery.
    """

    query: Embeddings
    gallery: Embeddings
    refined: Pair | None
    precision: dict[str, np.ndarray]
    compared: str
    labels: Mapping[str, str] = field(default_factory=dict)
    names: LabelNames = NUMBERS
    rules: Rules = MARKET1501
    counted: bool = True

    @staticmethod
    def of(run: Run, evaluation: Evaluation, *, rules: Rules = MARKET1501) -> "Queries":
        """Read a run that has been evaluated."""
        lists, embeddings = run.artifact("ranking.h5"), run.artifact("embeddings.h5")
        precision = load_average_precision(lists)
        compared = compared_in(evaluation)
        return Queries(
            query=load_embeddings(embeddings, "query").select(load_query_rows(lists)),
            gallery=load_embeddings(embeddings, "gallery"),
            refined=_refined(run) if compared == NFORMER and not rules.selects else None,
            precision=precision,
            compared=compared,
            labels=evaluation.labels,
            names=load_labels(embeddings),
            rules=rules.whole(),
            counted=not rules.selects and rules.cmc == "images",
        )

    def label(self, name: str) -> str:
        """Return what a result is called on the page."""
        return self.labels.get(name, name)

    @property
    def gain(self) -> np.ndarray:
        """How much the compared result's AP is above the baseline's, [Q]; NaN without a match."""
        if BASELINE not in self.precision or not self.compared:
            return np.full(len(self.query), np.nan)
        return self.precision[self.compared] - self.precision[BASELINE]

    def ranked_by(self, name: str) -> Pair | None:
        """Return the embeddings whose cosine ranks a result; None where distances rank it."""
        if name == BASELINE:
            return self.query, self.gallery
        return self.refined if name == NFORMER else None


def compared_in(evaluation: Evaluation) -> str:
    """Return the result to show beside the baseline, "" where there is no other.

    NFormer where it was evaluated; else the row of highest mAP, and a joint one only where all are.
    """
    others = _comparable(evaluation)
    if any(row.name == NFORMER for row in others):
        return NFORMER
    return max(others, key=lambda row: row.mAP).name if others else ""


def how_compared(evaluation: Evaluation) -> str:
    """Return that the result beside the baseline was chosen by the test labels, "" of others."""
    name = compared_in(evaluation)
    if name in ("", NFORMER) or len(_comparable(evaluation)) < 2:
        return ""
    return (
        f"Shown beside the baseline is {evaluation.labels.get(name, name)}: of the rows that mix "
        "no queries the one of highest mAP, so it was chosen by the labels of this test set."
    )


def _comparable(evaluation: Evaluation) -> list[ResultRow]:
    others = [row for row in evaluation.results if row.name != BASELINE]
    return [row for row in others if row.protocol != "joint"] or others


def examples_of(
    run: Run,
    queries: Queries,
    *,
    album: "Album",
    count: int,
    seed: int,
    state: "GalleryState | None" = None,
) -> tuple[list[Example], str]:
    """Return `count` queries each with the largest gains, the largest losses, and by chance.

    With them, why what they read is left out, "" where it is not.

    state: the gallery as the evaluation refined it; without it, it is refined again.
    """
    chosen = list(_chosen(queries, count, random=numpy_generator(seed, "report")))
    names = [name for name in (BASELINE, queries.compared) if name in queries.precision]
    rankings = {name: load_ranking(run.artifact("ranking.h5"), name) for name in names}
    examples = [
        Example(
            anchor=f"q{row}",
            name=queries.query.names[row],
            pid=int(queries.query.pids[row]),
            camid=int(queries.query.camids[row]),
            kind=kind,
            precision={name: float(queries.precision[name][row]) for name in names},
            lists={
                name: _listed(queries, name, ranking=ranking, row=row, album=album)
                for name, ranking in rankings.items()
            },
            picture=album.picture(queries.query.names[row]),
        )
        for kind, row in chosen
    ]
    untold = _untold(run, queries)
    if examples and queries.compared == NFORMER and not untold:
        shown = queries.query.select(np.array([row for _, row in chosen]))
        layers = _attention(run, queries.gallery.without_junk(), queries=shown, state=state)
        examples = list(_with_attention(examples, layers=layers, album=album))
    return examples, untold


def rows_of(run: Run, queries: Queries, *, album: "Album") -> list[Row]:
    """Return every query with a match, the worst by the compared result first."""
    compared = queries.compared or BASELINE
    names = [name for name in (BASELINE, queries.compared) if name in queries.precision]
    ranking = load_ranking(run.artifact("ranking.h5"), compared)
    order = np.argsort(queries.precision[compared], kind="stable").tolist()
    valid = [row for row in order if np.isfinite(queries.precision[compared][row])]
    found, room = list[Row](), ROOM
    for place, row in enumerate(valid):
        with_pictures = place < PICTURED and room > 0
        first = _first_match(ranking.match[row])
        items = _heads(album, ranking, row=row) if with_pictures else []
        one = Row(
            name=queries.query.names[row],
            pid=int(queries.query.pids[row]),
            camid=int(queries.query.camids[row]),
            precision={name: float(queries.precision[name][row]) for name in names},
            kinds=_kinds(float(queries.gain[row]), first=first),
            first=first,
            picture=album.picture(queries.query.names[row]) if with_pictures else "",
            items=items,
            match=_match_below(album, ranking, row=row) if items else None,
        )
        found.append(one)
        room -= sum(len(shown.picture) for shown in (one, *items, one.match) if shown)
    return found


def _kinds(gain: float, *, first: int | None) -> list[str]:
    return [
        kind
        for kind, holds in (("failed", first != 1), ("lost", gain < 0), ("won", gain > 0))
        if holds
    ]


def _first_match(match: np.ndarray) -> int | None:
    return int(match.argmax()) + 1 if match.any() else None


def _heads(album: "Album", ranking: Ranking, *, row: int) -> list[Item]:
    """Return the first items of a list that have pictures."""
    heads = zip(ranking.index[row, :HEADS].tolist(), ranking.match[row].tolist(), strict=False)
    items = [
        album.item(index, right=right, rank=rank)
        for rank, (index, right) in enumerate(heads, start=1)
        if index >= 0
    ]
    return [item for item in items if item.picture]


def _match_below(album: "Album", ranking: Ranking, *, row: int) -> Item | None:
    """Return the first match of a list where it stands below its first items."""
    rank = _first_match(ranking.match[row])
    if rank is None or rank <= HEADS:
        return None
    item = album.item(int(ranking.index[row, rank - 1]), right=True, rank=rank)
    return item if item.picture else None


def _untold(run: Run, queries: Queries) -> str:
    """Return why the page does not tell what a query reads, "" where it does."""
    what = f"{reading_of(queries.label(NFORMER))} is left out"
    if queries.compared != NFORMER:
        return ""
    if len(queries.gallery) > LARGE:
        return (
            f"{what}: the gallery has {len(queries.gallery):,} items, "
            f"and above {LARGE:,} it is not refined again for the page. nformer search tells it "
            "for single pictures."
        )
    evaluated, there = run.manifest("metrics.json"), run.manifest("nformer.pt")
    if evaluated and there and evaluated.inputs.get("nformer.pt") == there.sha256:
        return ""
    return (
        f"{what}: nformer.pt is not the one that was evaluated; run again: "
        f"{command_line('evaluate', run=run.folder)}"
    )


class Album:
    """Gallery items with their pictures, by row; pictures that are not there are counted.

    root: the folder that names start from; "": not known.
    """

    def __init__(self, gallery: Embeddings, *, root: str) -> None:
        self.gallery, self.root = gallery, root
        self.pictures: dict[str, str] = {}

    def item(self, row: int, *, right: bool, **more: Any) -> Item:
        """Return a gallery row as the page shows it."""
        pid, camid = int(self.gallery.pids[row]), int(self.gallery.camids[row])
        name = self.gallery.names[row]
        return Item(name, pid, camid, right, self.picture(name), **more)

    def picture(self, name: str) -> str:
        """Return an image as a data URI, or "" where there is none."""
        if name not in self.pictures:
            self.pictures[name] = ""
            with suppress(UnreadableImage):
                self.pictures[name] = data_uri(read_item(name, [self.root]), PICTURE)
        return self.pictures[name]

    def not_there(self) -> str:
        """Return how many of the pictures asked for so far are not there, "" where all are."""
        missing = [name for name, uri in self.pictures.items() if not uri]
        return not_there(missing, of=len(self.pictures), root=self.root)


def _chosen(
    queries: Queries, count: int, *, random: np.random.Generator
) -> Iterator[tuple[str, int]]:
    """Yield the kind and the row of each query to show, none twice."""
    first = next(iter(queries.precision.values()))
    left = set(np.flatnonzero(np.isfinite(first)).tolist())
    order = np.argsort(-queries.gain, kind="stable").tolist()  # NaN last
    gains = [row for row in order if queries.gain[row] > 0][:count]
    losses = [row for row in order[::-1] if queries.gain[row] < 0][:count]
    for kind, rows in (("gain", gains), ("loss", losses)):
        for row in rows:
            left.discard(row)
            yield kind, row
    rest = np.array(sorted(left), np.int64)
    for row in sorted(random.permutation(rest)[:count].tolist()):
        yield "sample", row


def _listed(queries: Queries, name: str, *, ranking: Ranking, row: int, album: Album) -> list[Item]:
    """Return the head of a list as the metrics count it, skipped items at their positions.

    Skipped are those of the query's own person and camera that come as near as those listed.
    """
    count = min(SHOWN, int((ranking.index[row] >= 0).sum()))
    heads = (
        part[row, :count].tolist() for part in (ranking.index, ranking.nearness, ranking.match)
    )
    items = [
        album.item(index, right=right, rank=rank, nearness=nearness)
        for rank, (index, nearness, right) in enumerate(zip(*heads, strict=True), start=1)
    ]
    pair, gallery = queries.ranked_by(name), queries.gallery
    own = Matches(queries.query, gallery, rules=queries.rules).of(row)[1]
    if pair is None or not items or not len(own):
        return items
    asked = unit_rows(pair[0].features[row : row + 1], "query")
    nearness = (unit_rows(pair[1].features[own], "gallery") @ asked.T)[:, 0]  # [M, d] x [d, 1]
    near = nearness >= ranking.nearness[row, :count].min()
    skipped = zip(own[near].tolist(), nearness[near].tolist(), strict=True)
    person = queries.query.pids[row]
    items += [
        album.item(index, right=bool(gallery.pids[index] == person), nearness=value)
        for index, value in skipped
    ]
    return sorted(items, key=lambda item: -(item.nearness or 0.0))


def _refined(run: Run) -> Pair | None:
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


def _attention(
    run: Run, gallery: Embeddings, *, queries: Embeddings, state: "GalleryState | None"
) -> "list[LayerWeights]":
    """Refine queries as they were evaluated, and return the shares of what each layer reads."""
    from ..gallery.states import refine_gallery, refine_queries

    evaluated, refined = run.manifest("metrics.json"), run.manifest("refined.h5")
    config = evaluated.config if evaluated else {}
    aware = refined is None or refined.facts.get("camera_aware", True)
    if state is None:
        model = load_nformer(run.artifact("nformer.pt"))
        model.neighbours = config.get("neighbours") or model.neighbours
        graph = graphs_of(run).get("gallery")
        if graph is not None and graph.index.shape[1] < model.neighbours:
            graph = None
        state = refine_gallery(
            model,
            gallery if aware else gallery.features,
            landmarks=config.get("landmarks", "random"),
            seed=config.get("seed", 0),
            known=(lambda _: graph.index) if graph is not None else None,
        )
    layers: list[LayerWeights] = []
    refine_queries(state, queries if aware else queries.features, explain=layers)
    return layers


def _with_attention(
    examples: Sequence[Example], *, layers: "Sequence[LayerWeights]", album: Album
) -> Iterator[Example]:
    """Add to each example what NFormer read, layer by layer: rows of the gallery without junk."""
    kept = np.flatnonzero(album.gallery.pids >= 0)
    for number, example in enumerate(examples):
        shares: dict[int, list[float]] = {}
        for depth, layer in enumerate(layers):
            lent = zip(layer.items[number].tolist(), layer.lent[number].tolist(), strict=True)
            for item, share in lent:
                shares.setdefault(int(kept[item]), [0.0] * len(layers))[depth] += share
        most = sorted(shares, key=lambda row: (-sum(shares[row]), row))[:READ]
        read = [
            album.item(
                row, right=int(album.gallery.pids[row]) == example.pid, shares=tuple(shares[row])
            )
            for row in most
            if sum(shares[row]) > 0
        ]
        own = tuple(float(layer.own[number]) for layer in layers)
        yield replace(example, own=own, read=read)
