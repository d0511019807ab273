"""Accuracy of refinement on many kinds of sets, beside closed forms and re-ranking."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..artifacts.embeddings import load_embeddings, save_embeddings
from ..artifacts.manifest import Manifest
from ..artifacts.nformer import load_nformer
from ..artifacts.run import Run
from ..config import NFormerConfig
from ..embeddings import SPLITS, Embeddings
from ..errors import BadInput
from ..evaluation.recommend import recommend
from ..gallery.refinement import Protocol, refine
from ..neighbours.graph import Neighbourhoods
from ..nformer.on_closed_form import NFormerOnClosedForm
from ..progress import Progress, Silent
from ..ranking.metrics import score
from ..ranking.rerankers.k_reciprocal import rerank_k_reciprocal
from ..refiners.chain import Pair, refine_chain
from ..refiners.closed_form import ClosedFormSettings
from ..refiners.expansion import expand_queries
from ..refiners.fitting import TrainingRows, fit_closed_form
from ..stages.import_embeddings import import_embeddings
from ..stages.train_nformer import train_nformer
from .people import SETS, draw_people
from .record import Record

SEEDS = (0, 1)
QUICK = ("eight images, width 128",)
WHITE = {"centre": "camera", "shrinkage": 0.6}
CONTROLS = {
    "baseline": ClosedFormSettings(),
    "camera means": ClosedFormSettings(centre="camera"),
    "nfc 16": ClosedFormSettings(neighbours=16),
    "mean, nfc 16": ClosedFormSettings(centre="global", neighbours=16),
    "camera, white, nfc 16": ClosedFormSettings(**WHITE, neighbours=16),  # type: ignore[arg-type]
}
EXPANSION = 16  # neighbours of the α-weighted query expansion, α = 3
CLOSED = (*CONTROLS, "αQE")
COLUMNS = ("baseline", "kr", "closed", "k = 1", "nformer", "joint", "nformer+kr", "auto")
JOINT = "{}, joint"
FORMS: tuple[tuple[Protocol, str], ...] = (("isolated", "{}"), ("joint", JOINT))
DRAWS = 3  # of landmarks, where a model has any


@dataclass(frozen=True)
class Case:
    """One set: its name, embeddings, and the seed it was drawn with."""

    name: str
    train: Embeddings
    query: Embeddings
    gallery: Embeddings
    seed: int = 0


def measure(
    *, quick: bool = False, sets: str | None = None, progress: Progress = Silent()
) -> Record:
    """Train with the defaults on every set and score it on persons never seen.

    sets: a folder of embedding files (as `nformer import-embeddings` reads them) to measure too.
    """
    found: dict[str, list[dict[str, float]]] = {}
    cases = list(cases_of(quick, sets))
    with progress.task("accuracy", len(cases), unit="sets") as task:
        for case in cases:
            found.setdefault(case.name, []).append(measure_case(case))
            task.advance(nformer=found[case.name][-1]["nformer"])
    return record_of(found)


def record_of(found: dict[str, list[dict[str, float]]]) -> Record:
    """Return the table of what `measure_case` gave for each set, once for each seed."""
    return Record(
        "mAP in % on persons never seen, all with the defaults, isolated protocol",
        ["", *COLUMNS, "seconds"],
        [_row(name, results) for name, results in found.items()],
        summary(found),
    )


def measure_case(case: Case) -> dict[str, float]:
    """Return the mAP in % of every method on one set, and the seconds of training."""
    figures = _controls(case)
    with tempfile.TemporaryDirectory(prefix="nformer-accuracy-") as folder:
        run = Run(folder)
        with run.writing(Manifest("embeddings.h5", "import-embeddings", {}, {})) as (path, _):
            save_embeddings(path, train=case.train, query=case.query, gallery=case.gallery)
        begun = time.perf_counter()
        config = NFormerConfig(seed=case.seed)
        model = load_nformer(train_nformer(run, config=config))
        figures["seconds"] = time.perf_counter() - begun
        advice = recommend(run, seed=case.seed).refine
    assert isinstance(model, NFormerOnClosedForm)
    draws = [refine(model, case.query, case.gallery, seed=case.seed)]
    if model.share:
        draws += [refine(model, case.query, case.gallery, seed=100 + n) for n in range(1, DRAWS)]
    figures["nformer"], figures["nformer+kr"] = _map(*draws[0]), _reranked(draws[0])
    figures["draws"] = float(np.std([_map(*pair) for pair in draws]))
    figures["joint"] = _map(*refine(model, case.query, case.gallery, protocol="joint"))
    alone = ClosedFormSettings(**{**model.closed_form.settings.as_table(), "neighbours": 1})
    figures["k = 1"] = _map(*_prior(case, alone, protocol="isolated"))
    figures[JOINT.format("k = 1")] = _map(*_prior(case, alone, protocol="joint"))
    figures["auto"] = figures["nformer"]
    if advice != ("nformer",):
        near = Neighbourhoods(case.query, case.gallery)
        figures["auto"] = _map(*refine_chain(advice, near, train=case.train))
    return figures


def _controls(case: Case) -> dict[str, float]:
    """Return the mAP in % of what needs no choice: closed forms, both protocols, re-ranking."""
    figures: dict[str, float] = {}
    near = Neighbourhoods(case.query, case.gallery)
    for protocol, form in FORMS:
        for name, settings in CONTROLS.items():
            figures[form.format(name)] = _map(*_prior(case, settings, protocol=protocol))
        expanded = expand_queries(near, protocol=protocol, k=EXPANSION)
        figures[form.format("αQE")] = _map(*expanded)
    figures["closed"] = max(figures[name] for name in CLOSED)
    figures["kr"] = _reranked((case.query, case.gallery))
    return figures


def summary(found: dict[str, list[dict[str, float]]]) -> list[str]:
    """Return how NFormer and the recommendation stand against the best of the others."""
    ahead, behind, lines = [], [], []
    for name, results in found.items():
        means = {key: float(np.mean([one[key] for one in results])) for key in results[0]}
        ahead.append(means["nformer"] - max(means[name] for name in CLOSED))
        behind.append(means["auto"] - max(means[name] for name in (*CLOSED, "nformer")))
        lines.append(f"- {name}: {_forms(means, '{}')}. Joint: {_forms(means, JOINT)}.")
    draws = max(one["draws"] for results in found.values() for one in results)
    return [
        f"NFormer less the best closed form: {np.mean(ahead):+.1f} mAP on the average, "
        f"{min(ahead):+.1f} at the least, over {len(ahead)} sets. ",
        f"`--refine auto` less the best row: {np.mean(behind):+.1f} on the average, "
        f"{min(behind):+.1f} at the least. ",
        f"Standard deviation over landmark draws: {draws:.2f} at the most. ",
        "closed is the best of the closed forms, k = 1 NFormer's own form without neighbours; "
        "joint is NFormer in the joint protocol, and kr is joint by definition.\n",
        "The closed forms, isolated:\n",
        *lines,
    ]


def _forms(means: dict[str, float], form: str) -> str:
    return ", ".join(f"{name} {means[form.format(name)]:.1f}" for name in CLOSED[1:])


def cases_of(quick: bool, sets: str | None) -> Iterator[Case]:
    """Yield the sets drawn, and those of a folder."""
    for name, people in SETS.items():
        if not quick or name in QUICK:
            for seed in SEEDS[:1] if quick else SEEDS:
                yield Case(name, *draw_people(people, seed=seed), seed=seed)
    if sets is not None:
        files = sorted(path for path in Path(sets).glob("*") if path.suffix in (".npz", ".h5"))
        if not files:
            raise BadInput(f"--sets {sets}: no .npz or .h5 in it")
        yield from map(_case_of, files)


def _case_of(path: Path) -> Case:
    with tempfile.TemporaryDirectory(prefix="nformer-accuracy-") as folder:
        stored = import_embeddings(Run(folder), [path])
        train, query, gallery = (load_embeddings(stored, split).without_junk() for split in SPLITS)
    return Case(path.stem, train, query, gallery)


def _prior(case: Case, settings: ClosedFormSettings, *, protocol: Protocol) -> Pair:
    train = TrainingRows.of(case.train.features, case.train.pids, camids=case.train.camids)
    model = NFormerOnClosedForm.joined(fit_closed_form(train, settings), None, share=0.0)
    return refine(model, case.query, case.gallery, protocol=protocol)


def _map(query: Embeddings, gallery: Embeddings) -> float:
    return 100 * score(query, gallery).mean_ap


def _reranked(pair: Pair) -> float:
    return 100 * score(*pair, distances=rerank_k_reciprocal(*pair)).mean_ap


def _row(name: str, results: list[dict[str, float]]) -> list[str]:
    cells = [name]
    for column in COLUMNS:
        values = [one[column] for one in results]
        spread = f" ± {np.std(values):.1f}" if len(values) > 1 else ""
        cells.append(f"{np.mean(values):.1f}{spread}")
    return [*cells, f"{np.mean([one['seconds'] for one in results]):.0f}"]
