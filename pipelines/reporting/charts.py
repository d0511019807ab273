"""The charts of a report, each with its words."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..artifacts.graph import graphs_of
from ..artifacts.ranking import load_ranking
from ..artifacts.run import Run
from ..embeddings import Embeddings
from ..labels import JUNK, distractors
from ..ranking.diagnosis import (
    CameraPairs,
    camera_pairs,
    match_counts,
    neighbour_purity,
    similarities,
)
from ..training.log import read_log
from .page import Chart, Example, last_parts
from .plots import COLOURS, DASHES, INK, STYLE, inline
from .ranked_lists import BASELINE, Queries

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STAGES = {"train-backbone": "Training of the backbone", "train-nformer": "Training of NFormer"}
POINTS = 400  # of a training curve
CMC_CURVES = 5
CMC_RANKS = 20
RECALLS = 21  # points of a precision–recall curve
MOST_POINTS = 5000  # drawn one by one, in colours that follow the page; more become a picture
NEAREST = 20  # neighbours of an image
PLACES = {"gallery": "gallery", "joint": "queries and gallery together"}
MOST_PAIRS = 100_000_000  # of query and gallery that a chart looks at; more: evenly spaced queries
Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def charts_of(run: Run, queries: Queries, *, examples: Sequence[Example] = ()) -> list[Chart]:
    """Return every chart that the run has the numbers for; examples are linked where told."""
    return [
        *_training(run),
        *_held_out(run),
        *((_cmc(run, queries), _precision_recall(run, queries)) if queries.counted else ()),
        _similarities(queries),
        *_neighbours(run, queries),
        *_gains(queries, examples),
        *_cameras(queries),
    ]


def _training(run: Run) -> Iterator[Chart]:
    path = run.path("train.jsonl")
    model = run.manifest("nformer.pt")
    dropped = model is not None and model.facts.get("learned_steps") == 0
    for stage, title in STAGES.items():
        if stage == "train-nformer" and dropped:
            continue  # what was trained was not kept
        lines = [line for line in read_log(path, stage) if _is_number(line.get("loss"))]
        if len(lines) < 2:
            continue
        kept = lines[:: max(1, len(lines) // POINTS)]
        steps = [line["step"] for line in kept]
        parts = ("loss", "identity", "triplet")
        names = [name for name in parts if all(_is_number(line.get(name)) for line in kept)]
        curves: Curves = {name: (steps, [line[name] for line in kept]) for name in names}
        svg = line_chart(stage, curves, x="step", y="loss")
        first, last = lines[0]["loss"], lines[-1]["loss"]
        text = f"The loss falls from {first:.2f} to {last:.2f} in {lines[-1]['step']} steps."
        if last >= first:
            text = f"The loss does not fall: {first:.2f} at first, {last:.2f} at last."
        yield Chart(title, svg, text)
        rates = [float(line["lr"]) for line in kept if _is_number(line.get("lr"))]
        if len(rates) == len(steps):
            svg = line_chart(f"{stage}-lr", {"lr": (steps, rates)}, x="step", y="learning rate")
            text = f"At most {max(rates):.2g}, {rates[-1]:.2g} at last."
            yield Chart(f"{title}: learning rate", svg, text)


def _held_out(run: Run) -> Iterator[Chart]:
    """Draw the mAP of identities that NFormer was not trained on, check by check."""
    model = run.manifest("nformer.pt")
    checks = model.facts.get("held_out_checks") or [] if model else []
    if len(checks) < 2:
        return
    steps, values = zip(*((one["step"], one["mAP"]) for one in checks), strict=True)
    y = "mAP of held-out identities"
    svg = line_chart("held-out", {"mAP": (steps, values)}, x="step", y=y, percent=True)
    best = int(np.argmax(values))
    text = (
        f"{100 * values[0]:.1f} before training, {100 * values[best]:.1f} at best, at step "
        f"{steps[best]}. The best step is kept, if it gains more than its error."
    )
    yield Chart("Held-out identities while NFormer trains", svg, text)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


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
        curves[queries.label(name)] = (list(range(1, len(found) + 1)), found.tolist())
    svg = line_chart("cmc", curves, x="rank", y="queries with a match", percent=True)
    told = ", ".join(f"{name} {100 * ys[0]:.1f} %" for name, (_, ys) in curves.items())
    return Chart("Cumulative matching characteristic", svg, f"At rank 1: {told}.")


def _precision_recall(run: Run, queries: Queries) -> Chart:
    """Draw precision at each recall, a mean over queries, from the lists that are kept."""
    curves = {}
    levels = np.linspace(0, 1, RECALLS)
    totals = match_counts(queries.query, queries.gallery, rules=queries.rules)
    first, *others = queries.precision
    others = sorted(others, key=lambda name: -np.nanmean(queries.precision[name]))
    for name in (first, *others[: CMC_CURVES - 1]):
        valid = np.isfinite(queries.precision[name])
        match = load_ranking(run.artifact("ranking.h5"), name).match[valid]
        found = np.cumsum(match, axis=1)  # [Q, top]
        precision = found / np.arange(1, match.shape[1] + 1)
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = found / np.maximum(totals[valid], 1)[:, None]
        means = []
        for level in levels:
            reached = recall >= level - 1e-9
            at = np.take_along_axis(precision, reached.argmax(axis=1)[:, None], axis=1)[:, 0]
            means.append(float(np.where(reached.any(axis=1), at, 0).mean()))
        curves[queries.label(name)] = ((100 * levels).tolist(), means)
    svg = line_chart("precision-recall", curves, x="recall in %", y="precision", percent=True)
    told = ", ".join(f"{name} {100 * ys[RECALLS // 2]:.1f} %" for name, (_, ys) in curves.items())
    kept = load_ranking(run.artifact("ranking.h5"), first).match.shape[1]
    text = f"At half of the matches: {told}. Matches beyond the first {kept} items count as missed."
    return Chart("Precision and recall", svg, text)


def _similarities(queries: Queries) -> Chart:
    panels = {
        queries.label(name): similarities(*pair, rules=queries.rules)
        for name, pair in _sides(queries).items()
    }
    told = "; ".join(f"{name} {100 * panel.overlap:.1f} %" for name, panel in panels.items())
    text = f"Share in which same and different pairs overlap (less is better): {told}."

    def draw(axes: "Axes") -> None:
        for number, (label, found) in enumerate(panels.items()):
            middle = (found.edges[1:] + found.edges[:-1]) / 2
            style: dict[str, Any] = {"color": COLOURS[number % 6]}
            axes.plot(middle, found.same, label=f"{label}: same person", **style)
            axes.plot(middle, found.different, "--", label=f"{label}: different", **style)

    svg = drawn("similarity", draw, x="cosine similarity", y="share of pairs", legend=True)
    return Chart("Similarities of pairs", svg, text)


def _neighbours(run: Run, queries: Queries) -> Iterator[Chart]:
    """Tell from graph.h5 whom there is to read, before refinement."""
    graphs, gallery = graphs_of(run), queries.gallery.without_junk()
    name = next((name for name in ("gallery", "joint") if name in graphs), "")
    if not name:
        return
    joint = len(graphs[name].index) > len(gallery)  # of one set, the gallery alone
    first = queries.query.pids if joint else gallery.pids[:0]
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
    svg = line_chart("neighbours", curves, x="k", y="of the same person", percent=True)
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
    name = queries.label(queries.compared)
    before, after = (queries.precision[one][valid] for one in (BASELINE, queries.compared))
    better, worse = int((gain[valid] > 0).sum()), int((gain[valid] < 0).sum())

    def scatter(axes: "Axes") -> None:  # above the line is a gain
        axes.plot([0, 100], [0, 100], color=INK, linewidth=0.8, linestyle=":")
        style: dict[str, Any] = {"s": 14, "alpha": 0.6, "edgecolors": "none"}
        style["rasterized"] = len(before) > MOST_POINTS
        axes.scatter(100 * before, 100 * after, color=COLOURS[0], **style)
        axes.set_aspect("equal")

    svg = drawn("scatter", scatter, x=f"AP in %, {BASELINE}", y=f"AP in %, {name}", size=(4.6, 4.2))
    stay, mean = int(valid.sum()) - better - worse, 100 * float(gain[valid].mean())
    text = f"{better} queries gain, {worse} lose, {stay} stay; the mean gain is {mean:+.1f} points."
    links = [
        (f"{example.kind}: {last_parts(example.name)}", example.anchor)
        for example in examples
        if example.kind != "sample"
    ]
    yield Chart(f"Average precision of each query, {BASELINE} and {name}", svg, text, links)
    matches = match_counts(queries.query, queries.gallery, rules=queries.rules)[valid]
    if matches.min() == matches.max():
        return  # one point is no chart

    def by_matches(axes: "Axes") -> None:
        counts = np.unique(matches)
        parts = [100 * gain[valid][matches == count] for count in counts]
        means = np.array([part.mean() for part in parts])
        error = [part.std() / np.sqrt(len(part)) for part in parts]
        axes.axhline(0, color=INK, linewidth=0.8, linestyle=":")
        axes.errorbar(counts, means, yerr=error, fmt="o", color=COLOURS[0], capsize=3)
        axes.set_xlim(counts.min() - 1, counts.max() + 1)
        _whole_numbers(axes)

    y = "mean gain in AP, points (± standard error)"
    svg = drawn("gain-chart", by_matches, x="true matches in the gallery", y=y)
    text = f"Queries have {matches.min()} to {matches.max()} true matches."
    yield Chart("Gain by images per identity", svg, text)


def _cameras(queries: Queries) -> Iterator[Chart]:
    if not (queries.query.has_cameras and queries.gallery.has_cameras):
        return
    for name, (query, gallery) in _sides(queries).items():
        pairs = camera_pairs(query, gallery, rules=queries.rules)
        if max(pairs.mean_ap.shape) > 20 or np.isnan(pairs.mean_ap).all():
            continue
        asking, asked = (
            [queries.names.camera(camid) for camid in cameras.tolist()]
            for cameras in (pairs.query_cameras, pairs.gallery_cameras)
        )
        low = np.unravel_index(np.nanargmin(pairs.mean_ap), pairs.mean_ap.shape)
        text = (
            f"Hardest: queries of camera {asking[low[0]]} in the gallery of camera "
            f"{asked[low[1]]}, mAP {100 * pairs.mean_ap[low]:.1f}."
        )
        svg = camera_table(f"cameras-{name}", pairs, names=(asking, asked))
        yield Chart(f"mAP in per cent by pair of cameras, {queries.label(name)}", svg, text)


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


def line_chart(name: str, curves: Curves, *, x: str, y: str, percent: bool = False) -> str:
    """Return lines by name, told apart by dashes as well as by colour.

    percent: the values are fractions of 1 and are shown in %.
    """
    times = 100 if percent else 1

    def draw(axes: "Axes") -> None:
        for number, (label, (xs, ys)) in enumerate(curves.items()):
            style: dict[str, Any] = {"color": COLOURS[number % 6], "linestyle": DASHES[number % 6]}
            values = [times * value for value in ys]
            axes.plot(xs, values, label=label, clip_on=not percent, **style)
        _whole_numbers(axes)
        if percent and axes.get_ylim()[1] > 100:  # no margin above all there can be
            axes.set_ylim(top=100)

    return drawn(name, draw, x=x, y=f"{y} in %" if percent else y, legend=len(curves) > 1)


def camera_table(
    name: str, pairs: CameraPairs, *, names: tuple[Sequence[str], Sequence[str]]
) -> str:
    """Return the mAP of each pair of cameras as a table of shades with the numbers in it.

    names: what the cameras of queries, and those of the gallery, are called.
    """
    longest = max(map(len, (*names[0], *names[1])))

    def draw(axes: "Axes") -> None:
        axes.imshow(pairs.mean_ap, vmin=0, vmax=1, cmap="Blues", aspect="auto")
        for (row, column), value in np.ndenumerate(pairs.mean_ap):
            text = "–" if np.isnan(value) else f"{100 * value:.0f}"
            ink = INK if np.isnan(value) else ("white" if value > 0.55 else "black")
            axes.text(column, row, text, ha="center", va="center", color=ink)
        turned: dict[str, Any] = {"rotation": 40, "ha": "right"} if longest > 5 else {}
        axes.set_xticks(range(len(names[1])), list(names[1]), **turned)
        axes.set_yticks(range(len(names[0])), list(names[0]))

    size = 1.6 + 0.55 * max(pairs.mean_ap.shape) + 0.06 * max(longest - 3, 0)  # inches
    return drawn(name, draw, x="gallery camera", y="query camera", size=(size + 0.6, size))


def drawn(
    name: str,
    draw: "Callable[[Axes], None]",
    *,
    x: str,
    y: str,
    legend: bool = False,
    size: tuple[float, float] = (6.4, 3.2),
) -> str:
    """Return a chart as SVG text.

    name: unique within a page; it goes before every id. Equal data gives equal text.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if legend:
            axes.legend(fontsize=9, handlelength=3)
        return inline(figure, name)


def _whole_numbers(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
