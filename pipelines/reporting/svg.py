"""Charts as SVG text in the colours of the page around it, light or dark."""

import re
from collections.abc import Callable, Mapping, Sequence
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


def inline(figure: "Figure", name: str) -> str:
    """Return SVG for a page: no prologue, ids of its own, sized by the page, in its ink."""
    text = StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    for side in ("height", "width"):
        svg = re.sub(rf'(<svg[^>]*?) {side}="[^"]*"', r"\1", svg)
    return svg


def line_chart(name: str, curves: Curves, *, x: str, y: str) -> str:
    """Return lines by name, told apart by dashes as well as by colour."""

    def draw(axes: "Axes") -> None:
        for number, (label, (xs, ys)) in enumerate(curves.items()):
            style: dict[str, Any] = {"color": COLOURS[number % 6], "linestyle": DASHES[number % 6]}
            axes.plot(xs, ys, label=label, **style)
        _whole_numbers(axes)

    return drawn(name, draw, x=x, y=y, legend=len(curves) > 1)


def similarity_chart(name: str, panels: "Mapping[str, Similarities]") -> str:
    """Return the distributions of same and different pairs, one curve pair for each result."""

    def draw(axes: "Axes") -> None:
        for number, (label, found) in enumerate(panels.items()):
            middle = (found.edges[1:] + found.edges[:-1]) / 2
            style: dict[str, Any] = {"color": COLOURS[number % 6]}
            axes.plot(middle, found.same, label=f"{label}: same person", **style)
            axes.plot(middle, found.different, "--", label=f"{label}: different", **style)

    return drawn(name, draw, x="cosine similarity", y="share of pairs", legend=True)


def scatter_chart(
    name: str, *, before: np.ndarray, after: np.ndarray, labels: tuple[str, str]
) -> str:
    """Return AP before [Q] against AP after [Q]; above the line is a gain."""

    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
        axes.scatter(
            before, after, s=14, alpha=0.45, color=COLOURS[0], edgecolors="none", rasterized=True
        )
        axes.set_aspect("equal")

    return drawn(name, draw, x=f"AP, {labels[0]}", y=f"AP, {labels[1]}", size=(4.6, 4.2))


def gain_chart(name: str, matches: np.ndarray, *, gain: np.ndarray) -> str:
    """Return the mean gain in AP [Q] by how many true matches a query has [Q]."""

    def draw(axes: "Axes") -> None:
        counts = np.unique(matches)
        parts = [gain[matches == count] for count in counts]
        means = np.array([part.mean() for part in parts])
        error = [part.std() / np.sqrt(len(part)) for part in parts]
        axes.axhline(0, color=INK, linewidth=0.8, linestyle=":")
        axes.errorbar(counts, means, yerr=error, fmt="o", color=COLOURS[0], capsize=3)
        axes.set_xlim(counts.min() - 1, counts.max() + 1)
        _whole_numbers(axes)

    y = "mean gain in AP (± standard error)"
    return drawn(name, draw, x="true matches in the gallery", y=y)


def camera_chart(name: str, pairs: "CameraPairs") -> str:
    """Return the mAP of each pair of cameras as a table of shades with the numbers in it."""

    def draw(axes: "Axes") -> None:
        axes.imshow(pairs.mean_ap, vmin=0, vmax=1, cmap="Blues", aspect="auto")
        for (row, column), value in np.ndenumerate(pairs.mean_ap):
            text = "–" if np.isnan(value) else f"{100 * value:.0f}"
            ink = INK if np.isnan(value) else ("white" if value > 0.55 else "black")
            axes.text(column, row, text, ha="center", va="center", color=ink)
        axes.set_xticks(range(len(pairs.gallery_cameras)), pairs.gallery_cameras.astype(str))
        axes.set_yticks(range(len(pairs.query_cameras)), pairs.query_cameras.astype(str))

    size = 1.6 + 0.55 * max(pairs.mean_ap.shape)
    return drawn(name, draw, x="gallery camera", y="query camera", size=(size + 0.6, size))


def _whole_numbers(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
