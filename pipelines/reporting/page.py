"""report.html: a run's results as one self-contained page."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifacts.results import Evaluation
from ..labels import NUMBERS, LabelNames
from ..ranking.rules import rules_named
from .paper import PaperRow
from .plots import COLOURS, DARK_COLOURS
from .tables_and_figures import TableOrFigure

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup
    from PIL.Image import Image

TEMPLATES = Path(__file__).parent / "templates"
CROP = (56, 112)  # largest width and height of a picture among thousands, in pixels
PICTURE = (80, 160)  # of a picture in the report
QUALITY = 80
LONGEST = 40  # rows of a table or figure that the page shows as a table
FILTERS = (
    ("all", "all"),
    ("failed", "first item wrong"),
    ("lost", "lost by refinement"),
    ("won", "won by it"),
)
PICTURED = 150  # queries with pictures in the table of all
ROOM = 10_000_000  # bytes that these pictures may take: a page stays below 15 MB
KINDS = (("gain", "Largest gains"), ("loss", "Largest losses"), ("sample", "A random sample"))


@dataclass(frozen=True)
class Chart:
    """A figure: SVG text, and in words what it shows.

    links: names and anchors of examples that it is about.
    """

    title: str
    svg: str
    text: str
    links: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Evidence:
    """A table or figure of the paper made again, and its panels as charts."""

    item: TableOrFigure
    charts: Sequence[Chart]

    @property
    def is_table(self) -> bool:
        """Whether its rows are few enough to be read."""
        return len(self.item.rows) <= LONGEST


@dataclass(frozen=True)
class Item:
    """One gallery item in a list. `rank` is None for one that the metrics skip.

    picture: a data URI, or "" where there is no image.   shares: attention, layer by layer.
    """

    name: str
    pid: int
    camid: int
    right: bool
    picture: str = ""
    rank: int | None = None
    nearness: float | None = None
    shares: tuple[float, ...] = ()


@dataclass(frozen=True)
class Example:
    """One query with its ranked lists, by result, and what NFormer read."""

    anchor: str
    name: str
    pid: int
    camid: int
    kind: str  # "gain", "loss" or "sample"
    precision: dict[str, float]
    lists: dict[str, Sequence[Item]]
    picture: str = ""
    own: tuple[float, ...] = ()
    read: Sequence[Item] = ()


@dataclass(frozen=True)
class Row:
    """One query in the table of all.

    kinds: the filters that show it.   first: the rank of its first match, where the list has one.
    items: the first of its list.      match: that first match, where it stands below them.
    """

    name: str
    pid: int
    camid: int
    precision: dict[str, float]
    kinds: Sequence[str]
    first: int | None
    picture: str = ""
    items: Sequence[Item] = ()
    match: Item | None = None


@dataclass(frozen=True)
class Link:
    """One artifact of the chain: its manifest in words."""

    name: str
    made_by: str
    sha256: str
    inputs: dict[str, str]
    config: dict[str, Any]
    state: str


@dataclass(frozen=True)
class Report:
    """Everything that the page tells."""

    evaluation: Evaluation
    folder: str
    charts: Sequence[Chart] = ()
    examples: Sequence[Example] = ()
    chain: Sequence[Link] = ()
    notes: Sequence[str] = field(default=())
    evidence: Sequence[Evidence] = ()
    labels: LabelNames = NUMBERS
    title: str = "Embeddings"
    every: Sequence[Row] = ()
    compared: str = "baseline"
    commands: Sequence[str] = ()
    versions: dict[str, str] = field(default_factory=dict)
    paper: Sequence[PaperRow] = ()  # its figures, where the data set is one of its own

    def count_of(self, kind: str) -> int:
        """Return how many queries a filter shows."""
        return sum(kind == "all" or kind in row.kinds for row in self.every)

    def label(self, name: str) -> str:
        """Return what a result is called: a closed form is not called nformer."""
        return self.evaluation.labels.get(name, name)

    @property
    def backbone(self) -> str:
        """The network that made the embeddings, where it is known."""
        found = [link.config.get("arch", "") for link in self.chain if link.name == "backbone.pt"]
        return str(found[0]) if found else ""

    def of_kind(self, kind: str) -> list[Example]:
        """Return the examples of one kind."""
        return [example for example in self.examples if example.kind == kind]


def render(report: Report) -> str:
    """Return the page's HTML."""
    results = report.evaluation.results
    return template("report.html.j2").render(
        report=report,
        rules=rules_named(report.evaluation.rules),
        columns={name: name.replace("rank", "rank-") for name in report.evaluation.figures},
        best={key: max(row.figure(key) for row in results) for key in report.evaluation.figures},
        percent=percent,
        kinds=KINDS,
        whom=partial(whom, report.labels),
        reading=reading_of(report.label("nformer")),
        part="layer" if "nformer" in report.label("nformer").lower() else "sum",
        filters=FILTERS,
        pictured=PICTURED,
        colours=tuple(zip(COLOURS, DARK_COLOURS, strict=True)),
    )


def not_there(missing: Sequence[str], *, of: int, root: str) -> str:
    """Return how many images do not lie where they did, "" where all are there.

    missing: their names.   root: the folder that names start from; "": not known.
    """
    if not missing:
        return ""
    if not root:
        return f"{len(missing):,} of {of:,} images are not known of for these embeddings"
    return f"{len(missing):,} of {of:,} images are not below {root}, such as {missing[0]}"


def whom(labels: LabelNames, one: Item | Example | Row, *, short: bool = False) -> str:
    """Return an identity and, where it is known, its camera: person 7, camera 2; or Ada, camera A.

    short: id 7, cam 2.
    """
    person, camera = ("id", "cam") if short else ("person", "camera")
    who = labels.person(one.pid) if labels.pids else f"{person} {one.pid}"
    return f"{who}, {camera} {labels.camera(one.camid)}" if one.camid >= 0 else who


def reading_of(label: str) -> str:
    """Return what it is called that a query reads: NFormer's attention, or what a closed form sums.

    label: of the model, as tables have it.
    """
    return "NFormer's attention" if label.lower() == "nformer" else f"What {label} reads"


def last_parts(name: str) -> str:
    """Return the last two parts of a picture's path, which tell it from others of its name."""
    return "/".join(name.split("/")[-2:])


def breakable(name: str) -> "Markup":
    """Return a file's name as HTML that may break behind /, _ and -, and not inside of words."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([/_-]+)", r"\1<wbr>", str(escape(name))))


def percent(value: float) -> str:
    """Return a fraction in per cent with one decimal, as every table shows it."""
    return f"{100 * value:.1f}"


def data_uri(image: "Image", size: tuple[int, int] = CROP) -> str:
    """Return a picture, made no larger than `size`, as a JPEG inside a URI."""
    small = image.copy()
    small.thumbnail(size)
    content = BytesIO()
    small.save(content, format="JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()


def script(name: str) -> tuple["Markup", str]:
    """Return a script beside the templates, and its digest as a Content-Security-Policy has it."""
    from markupsafe import Markup

    content = (TEMPLATES / name).read_bytes()
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    return Markup(content.decode()), f"sha256-{digest}"


@cache
def template(name: str) -> "Template":
    """Return a page's template, which escapes what it is given."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"breakable": breakable, "last_parts": last_parts}
    return environment.get_template(name)
