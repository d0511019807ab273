"""Charts as SVG text in the colours of the page around it, light or dark."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..ranking.diagnosis import CameraPairs, Similarities

INK = "#010203"  # stands for the page's text colour
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
}
COLOURS = ("#1f77b4", "#d95f02", "#2a9d5c", "#b0579e", "#8c7a00", "#666666")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]


class Drawing:
    """A chart being made; `svg` holds its text when the block is left."""

    def __init__(self, axes: "Axes") -> None:
        self.axes, self.svg = axes, ""


@contextmanager
def drawing(name: str, *, width: float = 6.4, height: float = 3.2) -> Iterator[Drawing]:
    """Yield a chart to fill.

    name: unique within a page; it goes before every id. Equal data gives equal text.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(width, height), layout="constrained")
        chart = Drawing(figure.add_subplot())
        yield chart
        chart.svg = inline(figure, name)


def inline(figure: "Figure", name: str) -> str:
    """Return SVG for a page: no prologue, ids of its own, sized by the page, in its ink."""
    text = StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg)
    )


def line_chart(name: str, curves: Curves, *, x: str, y: str) -> str:
    """Return lines by name, told apart by dashes as well as by colour."""
    with drawing(name) as chart:
        for number, (label, (xs, ys)) in enumerate(curves.items()):
            style: dict[str, Any] = {"color": COLOURS[number % 6], "linestyle": DASHES[number % 6]}
            chart.axes.plot(xs, ys, label=label, **style)
        _whole_numbers(chart.axes)
        _labelled(chart.axes, x=x, y=y, legend=len(curves) > 1)
    return chart.svg


def similarity_chart(name: str, panels: "Mapping[str, Similarities]") -> str:
    """Return the distributions of same and different pairs, one curve pair for each result."""
    with drawing(name) as chart:
        for number, (label, found) in enumerate(panels.items()):
            middle = (found.edges[1:] + found.edges[:-1]) / 2
            colour = COLOURS[number % 6]
            chart.axes.plot(middle, found.same, color=colour, label=f"{label}: same person")
            chart.axes.plot(
                middle, found.different, color=colour, linestyle="--", label=f"{label}: different"
            )
        _labelled(chart.axes, x="cosine similarity", y="share of pairs", legend=True)
    return chart.svg


def scatter_chart(
    name: str, *, before: np.ndarray, after: np.ndarray, labels: tuple[str, str]
) -> str:
    """Return AP before [Q] against AP after [Q]; above the line is a gain."""
    with drawing(name, width=4.6, height=4.2) as chart:
        chart.axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
        chart.axes.scatter(
            before, after, s=14, alpha=0.45, color=COLOURS[0], edgecolors="none", rasterized=True
        )
        chart.axes.set_aspect("equal")
        _labelled(chart.axes, x=f"AP, {labels[0]}", y=f"AP, {labels[1]}", legend=False)
    return chart.svg


def gain_chart(name: str, matches: np.ndarray, *, gain: np.ndarray) -> str:
    """Return the mean gain in AP [Q] by how many true matches a query has [Q]."""
    with drawing(name) as chart:
        counts, where = np.unique(matches, return_inverse=True)
        parts = [gain[where == number] for number in range(len(counts))]
        means = np.array([part.mean() for part in parts])
        error = [part.std() / np.sqrt(len(part)) for part in parts]
        chart.axes.axhline(0, color=INK, linewidth=0.8, linestyle=":")
        chart.axes.errorbar(counts, means, yerr=error, fmt="o", color=COLOURS[0], capsize=3)
        chart.axes.set_xlim(counts.min() - 1, counts.max() + 1)
        _whole_numbers(chart.axes)
        _labelled(
            chart.axes, x="true matches in the gallery", y="mean gain in AP (± standard error)",
            legend=False,
        )  # fmt: skip
    return chart.svg


def camera_chart(name: str, pairs: "CameraPairs") -> str:
    """Return the mAP of each pair of cameras as a table of shades with the numbers in it."""
    size = 1.6 + 0.55 * max(pairs.mean_ap.shape)
    with drawing(name, width=size + 0.6, height=size) as chart:
        chart.axes.imshow(pairs.mean_ap, vmin=0, vmax=1, cmap="Blues", aspect="auto")
        for (row, column), value in np.ndenumerate(pairs.mean_ap):
            text = "–" if np.isnan(value) else f"{100 * value:.0f}"
            ink = INK if np.isnan(value) else ("white" if value > 0.55 else "black")
            chart.axes.text(column, row, text, ha="center", va="center", color=ink)
        chart.axes.set_xticks(range(len(pairs.gallery_cameras)), _names(pairs.gallery_cameras))
        chart.axes.set_yticks(range(len(pairs.query_cameras)), _names(pairs.query_cameras))
        _labelled(chart.axes, x="gallery camera", y="query camera", legend=False)
    return chart.svg


def _names(cameras: np.ndarray) -> list[str]:
    return [str(camera) for camera in cameras.tolist()]


def _whole_numbers(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _labelled(axes: "Axes", *, x: str, y: str, legend: bool) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if legend:
        options: dict[str, Any] = {"fontsize": 9, "handlelength": 3}
        axes.legend(**options)
