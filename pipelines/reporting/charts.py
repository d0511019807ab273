"""The charts of a report, each with its words."""

from collections.abc import Iterator, Sequence

import numpy as np

from ..artifacts.graph import graphs_of
from ..artifacts.ranking import load_ranking
from ..artifacts.run import Run
from ..embeddings import Embeddings
from ..labels import JUNK, distractors
from ..ranking.diagnosis import camera_pairs, match_counts, neighbour_purity, similarities
from ..training.log import read_log
from .page import Chart, Example
from .ranked_lists import BASELINE, Queries
from .svg import Curves, camera_chart, gain_chart, line_chart, scatter_chart, similarity_chart

STAGES = {"train-backbone": "Training of the backbone", "train-nformer": "Training of NFormer"}
POINTS = 400  # of a training curve
CMC_CURVES = 5
CMC_RANKS = 20
NEAREST = 20  # neighbours of an image
PLACES = {"gallery": "gallery", "joint": "queries and gallery together"}
MOST_PAIRS = 100_000_000  # of query and gallery that a chart looks at; more: evenly spaced queries


def charts_of(run: Run, queries: Queries, *, examples: Sequence[Example] = ()) -> list[Chart]:
    """Return every chart that the run has the numbers for; examples are linked where told."""
    return [
        *_training(run),
        _cmc(run, queries),
        _similarities(queries),
        *_neighbours(run, queries),
        *_gains(queries, examples),
        *_cameras(queries),
    ]


def _training(run: Run) -> Iterator[Chart]:
    path = run.path("train.jsonl")
    for stage, title in STAGES.items() if path.exists() else ():
        lines = [line for line in read_log(path, stage) if "loss" in line]
        if len(lines) < 2:
            continue
        kept = lines[:: max(1, len(lines) // POINTS)]
        steps = [line["step"] for line in kept]
        names = [name for name in ("loss", "identity", "triplet") if name in kept[0]]
        curves: Curves = {name: (steps, [line[name] for line in kept]) for name in names}
        svg = line_chart(stage, curves, x="step", y="loss")
        first, last = lines[0]["loss"], lines[-1]["loss"]
        text = f"The loss falls from {first:.2f} to {last:.2f} in {lines[-1]['step']} steps."
        if last >= first:
            text = f"The loss does not fall: {first:.2f} at first, {last:.2f} at last."
        yield Chart(title, svg, text)


def _cmc(run: Run, queries: Queries) -> Chart:
    """Draw the baseline, which comes first, and the best of the others: more are a tangle."""
    curves = {}
    first, *others = queries.precision
    others = sorted(others, key=lambda name: -np.nanmean(queries.precision[name]))
    for name in (first, *others[: CMC_CURVES - 1]):
        precision = queries.precision[name]
        match = load_ranking(run.artifact("ranking.h5"), name).match[:, :CMC_RANKS]
        valid = np.isfinite(precision)
        found = np.maximum.accumulate(match[valid], axis=1).mean(axis=0)
        curves[name] = (list(range(1, len(found) + 1)), found.tolist())
    svg = line_chart("cmc", curves, x="rank", y="share of queries with a match")
    told = ", ".join(f"{name} {100 * ys[0]:.1f} %" for name, (_, ys) in curves.items())
    return Chart("Cumulative matching characteristic", svg, f"At rank 1: {told}.")


def _similarities(queries: Queries) -> Chart:
    panels = {name: similarities(*pair) for name, pair in _sides(queries).items()}
    told = "; ".join(f"{name} {100 * panel.overlap:.1f} %" for name, panel in panels.items())
    text = f"Share in which same and different pairs overlap (less is better): {told}."
    svg = similarity_chart("similarity", panels)
    return Chart("Similarities of pairs", svg, text)


def _neighbours(run: Run, queries: Queries) -> Iterator[Chart]:
    """Tell from graph.h5 whom there is to read, before refinement."""
    graphs, gallery = graphs_of(run), queries.gallery.without_junk()
    name = next((name for name in ("gallery", "joint") if name in graphs), "")
    if not name:
        return
    first = queries.query.pids if name == "joint" else gallery.pids[:0]
    pids = np.concatenate([first, gallery.pids])
    pids = np.where(distractors(pids, queries.query.pids), JUNK, pids)
    found = neighbour_purity(graphs[name].index[:, : 1 + NEAREST], pids)
    if not len(found.listed):
        return
    ks = list(range(1, 1 + len(found.listed)))
    curves = {
        "the k nearest": (ks, found.listed.tolist()),
        "those of them that list it back": (ks, found.mutual.tolist()),
    }
    svg = line_chart("neighbours", curves, x="k", y="share of the same person")
    text = (
        f"Of the {ks[-1]} nearest of an image in the {PLACES[name]} {100 * found.listed[-1]:.0f} % "
        f"show the same person, of any camera; of the {found.mutuals[-1]:.1f} that list it back "
        f"{100 * found.mutual[-1]:.0f} %. These mutual neighbours are what refinement reads."
    )
    yield Chart("Neighbours before refinement", svg, text)


def _gains(queries: Queries, examples: Sequence[Example]) -> Iterator[Chart]:
    gain = queries.gain
    valid = np.isfinite(gain)
    if not valid.any():
        return
    name = queries.compared
    before, after = queries.precision[BASELINE][valid], queries.precision[name][valid]
    better, worse = int((gain[valid] > 0).sum()), int((gain[valid] < 0).sum())
    svg = scatter_chart("scatter", before=before, after=after, labels=(BASELINE, name))
    text = f"{better} queries gain, {worse} lose, {int(valid.sum()) - better - worse} stay."
    links = [
        (f"{example.kind}: {example.name.rpartition('/')[2]}", example.anchor)
        for example in examples
        if example.kind != "sample"
    ]
    yield Chart(f"Average precision of each query, {BASELINE} and {name}", svg, text, links)
    matches = match_counts(queries.query, queries.gallery)[valid]
    svg = gain_chart("gain-chart", matches, gain=gain[valid])
    text = f"Queries have {matches.min()} to {matches.max()} true matches; the mean gain is "
    yield Chart(
        "Gain by images per identity", svg, f"{text}{100 * float(gain[valid].mean()):+.1f} points."
    )


def _cameras(queries: Queries) -> Iterator[Chart]:
    if not (queries.query.has_cameras and queries.gallery.has_cameras):
        return
    for name, (query, gallery) in _sides(queries).items():
        pairs = camera_pairs(query, gallery)
        if max(pairs.mean_ap.shape) > 20 or np.isnan(pairs.mean_ap).all():
            continue
        low = np.unravel_index(np.nanargmin(pairs.mean_ap), pairs.mean_ap.shape)
        text = (
            f"Hardest: queries of camera {pairs.query_cameras[low[0]]} in the gallery of camera "
            f"{pairs.gallery_cameras[low[1]]}, mAP {100 * pairs.mean_ap[low]:.1f}."
        )
        svg = camera_chart(f"cameras-{name}", pairs)
        yield Chart(f"mAP in per cent by pair of cameras, {name}", svg, text)


def _sides(queries: Queries) -> dict[str, tuple[Embeddings, Embeddings]]:
    """Return query and gallery without junk, before and after; of many queries, a part."""
    known = queries.gallery.pids >= 0
    most = max(1, MOST_PAIRS // len(queries.gallery))
    count = min(len(queries.query), most)
    rows = np.linspace(0, len(queries.query) - 1, count).astype(np.int64)
    sides = {BASELINE: (queries.query.select(rows), queries.gallery.select(known))}
    if queries.refined is not None:
        query, gallery = queries.refined
        sides[queries.compared] = (query.select(rows), gallery.select(known))
    return sides
