"""metrics.json + ranking.h5 + embeddings.h5 (+ refined.h5, nformer.pt, images) -> report.html"""

import csv
import json
import platform
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifacts.manifest import Manifest
from ..artifacts.moved import pictures_root
from ..artifacts.results import FIGURES, Evaluation
from ..artifacts.run import Run, writing_stage
from ..config import SECTIONS, as_table
from ..data.catalogue import title_of
from ..extraction.given import GivenNetwork
from ..extraction.sources import dataset_names, reader_arguments
from ..files import write_text
from ..flow import command_line
from ..progress import Progress, Silent
from ..ranking.rules import rules_named
from ..reporting.charts import charts_of
from ..reporting.page import Chart, Evidence, Example, Item, Link, Report, render
from ..reporting.paper import paper_notes, paper_rows
from ..reporting.plots import svg_of
from ..reporting.ranked_lists import Album, Queries, examples_of, how_compared, rows_of
from ..reporting.tables_and_figures import tables_and_figures_in
from ..settings import configure
from .early import BY_EPOCHS
from .info import on_the_way

if TYPE_CHECKING:
    from ..gallery.refinement import GalleryState

# The artifacts on the way, and the section of settings that the command for each takes.
MADE_BY_COMMANDS = {
    "backbone.pt": "backbone",
    "embeddings.h5": "extract",
    "nformer.pt": "nformer",
    "metrics.json": "evaluate",
}
PAGE, TABLE = "report.html", "report.csv"
EXAMPLES = 6  # of each kind: gains, losses, random ones


@writing_stage
def report(
    run: Run,
    *,
    examples: int = EXAMPLES,
    seed: int = 0,
    progress: Progress = Silent(),
    state: "GalleryState | None" = None,
    root: str | Path | None = None,
) -> Path:
    """Write the run's report as one self-contained page, and its table as CSV; return the page.

    examples: queries shown of each kind: the largest gains, the largest losses, random ones.
    state:    the gallery as the evaluation refined it; without it, it is refined again.
    root:     the folder that the images lie below now, which the run remembers; None: as it was
              told last, or where they were embedded.

    Raises:
        MissingArtifact, StaleArtifact: metrics.json or ranking.h5: run `nformer evaluate`.
    """
    asked: dict[str, Any] = {"examples": examples, "seed": seed, "state": state, "root": root}
    found = build_report(run, **asked, progress=progress)
    write_text(run.path(TABLE), to_csv(found.evaluation))
    write_text(run.path(PAGE), render(found))
    return run.path(PAGE)


def build_report(
    run: Run,
    *,
    examples: int = EXAMPLES,
    seed: int = 0,
    progress: Progress = Silent(),
    state: "GalleryState | None" = None,
    root: str | Path | None = None,
) -> Report:
    """Gather what the page tells, and write nothing."""
    evaluation = Evaluation.read(run.artifact("metrics.json"))
    rules = rules_named(evaluation.rules)
    queries = Queries.of(run, evaluation, rules=rules)
    facts = run.facts("embeddings.h5")
    names = queries.gallery.names
    folder = pictures_root(run, facts, told=root, names=names, progress=progress)
    album = Album(queries.gallery, root=folder)
    with progress.task("report", 3, unit="parts") as task:
        asked: dict[str, Any] = {"count": examples, "seed": seed, "state": state}
        shown, untold = examples_of(run, queries, album=album, **asked)
        task.advance()
        charts = charts_of(run, queries, examples=shown)
        task.advance()
        evidence = []
        for item in tables_and_figures_in(run):
            panels = [
                Chart(plot.title, svg_of(f"{item.name}-{n}", [plot], titled=False), item.text)
                for n, plot in enumerate(item.plots)
            ]
            evidence.append(Evidence(item, panels))
        every = rows_of(run, queries, album=album)
        task.advance()
    return Report(
        evaluation=evaluation,
        folder=str(run.folder),
        charts=charts,
        examples=shown,
        chain=chain_of(run),
        notes=[
            *filter(None, (how_compared(evaluation),)),
            *_pictures_missing(run, album, progress=progress),
            *([untold] if untold else []),
            *paper_notes(run, queries=evaluation.queries),
        ],
        evidence=evidence,
        labels=queries.names,
        title=title_of(facts) or evaluation.dataset or "Embeddings",
        every=every,
        compared=queries.compared or "baseline",
        commands=[line for line in map(partial(command_of, run), MADE_BY_COMMANDS) if line],
        versions=versions(),
        paper=paper_rows(run, queries=evaluation.queries),
    )


def _pictures_missing(run: Run, album: Album, *, progress: Progress) -> list[str]:
    """Return the page's note on images that are not there, and warn of them where they were."""
    text = album.not_there()
    if text and album.root:
        remedy = command_line("report", "--root", "DIR", run=run.folder)
        progress.warn(f"{text}: the page shows their names. Say where they are with: {remedy}")
    return [f"{text}: their names are shown."] if text else []


def command_of(run: Run, artifact: str) -> str:
    """Return the command line that makes an artifact again, "" where it is not there."""
    manifest = run.manifest(artifact)
    if manifest is None:
        return ""
    if manifest.stage.startswith("import"):
        return command_line(manifest.stage, "FILE", run=run.folder)
    arguments, section = _sources(run, manifest), MADE_BY_COMMANDS[artifact]
    if manifest.stage == "train":  # both at once, by the recipe that is its default
        if section == "nformer":
            return ""
        tables = {"backbone": manifest.config, "nformer": manifest.config["nformer"]}
        for name, table in tables.items():
            default = as_table(configure(name, recipe="paper"))
            if name == "nformer":
                table = {key: value for key, value in table.items() if key not in BY_EPOCHS}
            arguments += _settings(table, default, prefix=f"{name}.")
    else:
        arguments += _settings(manifest.config, as_table(SECTIONS[section]()))
    return command_line(manifest.stage, *arguments, run=run.folder)


def _settings(table: dict[str, Any], default: dict[str, Any], *, prefix: str = "") -> list[str]:
    """Return the settings that are not as by default, as --set has them."""
    given = []
    for key, value in table.items():
        if key in default and value != default[key]:
            shown = value if isinstance(value, str) else json.dumps(value)
            given += ["--set", f"{prefix}{key}={shown}"]
    return given


def _sources(run: Run, manifest: Manifest) -> list[str]:
    """Return the arguments that name the data set and the network that an artifact is made of."""
    facts = manifest.facts
    if manifest.stage in ("train-backbone", "train"):
        return [*dataset_names(facts), *reader_arguments(facts)]
    if manifest.stage != "extract":
        return []
    named = ["--dataset", facts.get("dataset", "NAME"), *reader_arguments(facts)]
    if "network" in facts:
        given = GivenNetwork(facts["network"]["arch"], facts["network"]["weights"])
        return [*given.arguments, *named]
    trained = run.manifest("backbone.pt")
    alike = ("dataset", "root", "options")
    if trained and all(trained.facts.get(key) == facts.get(key) for key in alike):
        return []  # of the images that the backbone was trained on
    return named


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that figures depend on."""
    found = {"Python": platform.python_version()}
    for name in ("nformer", "torch", "torchvision", "numpy", "faiss-gpu", "faiss-cpu"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def chain_of(run: Run) -> list[Link]:
    """Return the artifacts there are, in the order of the stages, with their manifests."""
    links = []
    for row in on_the_way(run):
        manifest = None if row.state in ("not yet", "damaged") else run.manifest(row.name)
        if manifest is not None:
            made = (f"nformer {manifest.stage}", manifest.sha256, manifest.inputs, manifest.config)
            links.append(Link(row.name, *made, row.state))
    return links


def to_csv(evaluation: Evaluation) -> str:
    """Return the table's rows as CSV, fractions of 1, each as exact as metrics.json has it."""
    text = StringIO()
    columns = ["name", *FIGURES]
    others = [name for name in evaluation.figures if name not in FIGURES]
    columns += [*others, "seconds", "protocol", "rules"]
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in evaluation.results:
        told = {"protocol": row.protocol or evaluation.protocol, "rules": evaluation.rules}
        writer.writerow(asdict(row) | told | {name: row.figure(name) for name in others})
    return text.getvalue()


def to_json(found: Report) -> str:
    """Return what the page tells, without pictures, as one JSON object."""
    return json.dumps(
        {
            **asdict(found.evaluation),
            "run": found.folder,
            "charts": [{"title": chart.title, "text": chart.text} for chart in found.charts],
            "examples": [_example(example) for example in found.examples],
            "exhibits": [asdict(evidence.item) for evidence in found.evidence],
            "notes": [*found.evaluation.notes, *found.notes],
            "paper": [row._asdict() for row in found.paper],
            "artifacts": {link.name: link.sha256 for link in found.chain},
            "manifests": [asdict(link) for link in found.chain],
        },
        ensure_ascii=False,
    )


def _example(example: Example) -> dict[str, Any]:
    lists = example.lists.items()
    return {
        "query": example.name,
        "kind": example.kind,
        "average_precision": example.precision,
        "lists": {name: [item.name for item in items if item.rank] for name, items in lists},
        "items": {name: [_item(item) for item in items] for name, items in lists},
        "attention_itself": example.own,
        "attention": [_item(item) for item in example.read],
    }


def _item(item: Item) -> dict[str, Any]:
    """Return a gallery item of a list without its picture; rank null: skipped."""
    return {key: value for key, value in asdict(item).items() if key != "picture"}
