"""Plots described as data, and drawn as SVG in the colours of the page around them, or as PNG."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..files import replacing, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
DARK_COLOURS = ("#6db6ff", "#ff9d5c", "#63d69a", "#e79ad6", "#d8c84a", "#b0b7c0")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h", "p")
PANEL = (5.2, 3.6)  # inches
DPI = 120


@dataclass(frozen=True)
class Curve:
    """One line, set of bars or group of points; `error` is a standard deviation, or nothing."""

    label: str
    x: Sequence[Any]
    y: Sequence[float]
    error: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One panel.

    kind:   "lines"; "bars", one for each of the first curve's labels in x; "points", by group.
    levels: horizontal lines by name.   log: the axes that are logarithmic, "", "x", "y" or "xy".
    within: the least range of y that is shown; (): what the curves need.
    """

    title: str
    x: str
    y: str
    curves: Sequence[Curve]
    kind: Literal["lines", "bars", "points"] = "lines"
    levels: Mapping[str, float] = field(default_factory=dict)
    log: str = ""
    within: Sequence[float] = ()

    @staticmethod
    def from_table(table: dict[str, Any]) -> "Plot":
        """Return the plot that `dataclasses.asdict` took apart."""
        return Plot(**{**table, "curves": tuple(Curve(**curve) for curve in table["curves"])})


def svg_of(name: str, plots: Sequence[Plot], *, titled: bool = True) -> str:
    """Return panels side by side as SVG text; `name` goes before every id."""
    import matplotlib

    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        return inline(_figure(plots, titled=titled), name)


def save_pictures(folder: Path, name: str, *, plots: Sequence[Plot]) -> None:
    """Write NAME.svg and NAME.png, each whole or not at all."""
    import matplotlib

    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = _figure(plots)
        svg = inline(figure, name).replace("currentColor", "#1a1d21")
        svg = re.sub(r"var\(--c\d, (#[0-9a-f]{6})\)", r"\1", svg)
        with replacing(folder / f"{name}.png") as path:
            figure.savefig(path, format="png", dpi=DPI, facecolor="white")
    write_text(folder / f"{name}.svg", svg)


def inline(figure: "Figure", name: str) -> str:
    """Return SVG for a page: no prologue, ids of its own, sized by the page, in its ink."""
    text = StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    for number, colour in enumerate(COLOURS):  # a page in the dark has lighter ones
        svg = svg.replace(f": {colour}", f": var(--c{number}, {colour})")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    for side in ("height", "width"):
        svg = re.sub(rf'(<svg[^>]*?) {side}="[^"]*"', r"\1", svg)
    return svg


def _figure(plots: Sequence[Plot], *, titled: bool = True) -> "Figure":
    from matplotlib.figure import Figure

    tall = max(
        (0.42 * len(plot.curves[0].x) + 1.1 for plot in plots if plot.kind == "bars"), default=0
    )
    figure = Figure(figsize=(PANEL[0] * len(plots), max(PANEL[1], tall)), layout="constrained")
    for number, plot in enumerate(plots):
        axes = figure.add_subplot(1, len(plots), number + 1)
        {"lines": _lines, "bars": _bars, "points": _points}[plot.kind](axes, plot)
        axes.set_title(_plain(plot.title) if titled else "", fontsize=10)
        axes.set_xlabel(plot.x)
        axes.set_ylabel(plot.y)
    return figure


def _plain(text: str) -> str:
    """Return a user's words as they are to be shown: a $ opens no formula."""
    return text.replace("$", r"\$")


def _lines(axes: "Axes", plot: Plot) -> None:
    for number, curve in enumerate(plot.curves):
        style: dict[str, Any] = {
            "color": COLOURS[number % len(COLOURS)],
            "linestyle": DASHES[number % len(DASHES)],
            "marker": MARKS[number % len(MARKS)],
            "markersize": 4,
        }
        axes.errorbar(
            curve.x, curve.y, yerr=curve.error or None, label=curve.label, capsize=2, **style
        )
    for number, (label, value) in enumerate(plot.levels.items()):
        style = {"linestyle": DASHES[(number + 1) % len(DASHES)], "linewidth": 1.0}
        axes.axhline(value, color=INK, alpha=1 - 0.3 * number, label=label, **style)
    if "x" in plot.log:
        axes.set_xscale("log")
        if len(ticks := sorted({x for curve in plot.curves for x in curve.x})) <= 8:
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.set_xticks([], minor=True)
    if "y" in plot.log:
        axes.set_yscale("log")
    if plot.within:
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, plot.within[0]), max(high, plot.within[1]))
    if len(plot.curves) + len(plot.levels) > 1:  # below: it would hide something anywhere else
        below = (0.5, -0.16)
        axes.legend(fontsize=8, handlelength=3, loc="upper center", bbox_to_anchor=below, ncols=2)


def _bars(axes: "Axes", plot: Plot) -> None:
    (curve,) = plot.curves
    heights = list(range(len(curve.x)))[::-1]  # the first at the top
    axes.barh(heights, curve.y, color=COLOURS[0], alpha=0.75, height=0.6)
    errors = curve.error or [0.0] * len(heights)
    for height, value, error in zip(heights, curve.y, errors, strict=True):
        if error:
            axes.errorbar(value, height, xerr=error, color=INK, capsize=3)
        style: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 9}
        axes.annotate(f"{value:.1f}", (value + error, height), (6, 0), **style)
    axes.set_yticks(heights, [_plain(str(label)) for label in curve.x])
    axes.margins(x=0.14)


def _points(axes: "Axes", plot: Plot) -> None:
    for number, curve in enumerate(plot.curves):
        axes.scatter(
            curve.x, curve.y, s=16, label=curve.label, color=COLOURS[number % len(COLOURS)],
            marker=MARKS[number % len(MARKS)], linewidths=0,
        )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
