"""Refining in parts on a local cluster beside one process: the numbers, and what they take."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..artifacts.nformer import load_nformer, save_nformer
from ..distributed.asked import require_cluster
from ..distributed.gallery_steps import ModelFile
from ..distributed.items import Place
from ..distributed.parts import Cost
from ..distributed.plan import Size, plan_of
from ..distributed.refinement import refine_in_parts
from ..distributed.workers import cluster_of
from ..embeddings import Embeddings
from ..gallery.refinement import refine
from ..nformer.model import NFormer
from ..nformer.on_closed_form import NFormerOnClosedForm
from ..progress import Progress, Silent
from ..ranking.metrics import score
from ..refiners.closed_form import ClosedForm
from ..seeding import numpy_generator
from .child import measured
from .record import Record

CLUSTER = "local:2"
WIDTH, CAMERAS, IMAGES, QUERIES, SEED = 64, 8, 15, 2000, 5
CLOSE = 6e-6
COLUMNS = [
    "", "parts", "processor seconds", "to one process", "GB read (plan)", "MiB of a worker (plan)",
    "rows apart", "mAP",
]  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "NFormer": {},
    "sums over cameras, NFormer": {"centre": "camera", "per_camera": True, "neighbours": 3},
    "sums, gate, NFormer": {"centre": "global", "neighbours": 5, "gate": True},
}


@dataclass(frozen=True)
class Case:
    """A set of so many gallery rows, a kind of model, and into how many parts it is divided."""

    rows: int
    kind: str
    parts: tuple[int, ...]


CASES = (
    Case(50_000, "sums over cameras, NFormer", (4, 7)),
    Case(50_000, "sums, gate, NFormer", (4,)),
    Case(200_000, "NFormer", (4, 16)),
)


def measure(*, quick: bool, progress: Progress) -> Record:
    """Refine made-up sets in one process and in parts, each in a process of its own."""
    require_cluster(CLUSTER)
    scale = 50 if quick else 1
    rows = []
    with progress.task(
        "benchmark", sum(1 + len(case.parts) for case in CASES), unit="runs"
    ) as task:
        for case in CASES:
            with tempfile.TemporaryDirectory(prefix="nformer-") as folder:
                for row in _rows(case, folder, scale=scale):
                    rows.append(row)
                    task.advance()
    return Record(
        "Refining in parts, beside one process",
        COLUMNS,
        rows,
        [
            f"Made-up people of {IMAGES} images, {WIDTH} wide, {QUERIES // scale:,} queries, "
            f"{CAMERAS} cameras, isolated protocol; {CLUSTER}, one thread a worker. Processor "
            "seconds are those of refining, the first process's too. Rows apart differ by more "
            f"than {CLOSE:g} from one process's: some neighbours of theirs are equally near."
        ],
    )


def _rows(case: Case, folder: str, *, scale: int) -> Iterator[list[str]]:
    about: dict[str, Any] = {"folder": folder, "rows": case.rows // scale, "kind": case.kind}
    label = f"{case.rows // scale:,} rows, {case.kind}"
    one = measured("cluster", "one_process", **about)
    seconds = f"{one['seconds']:.0f}"
    yield [label, "one process", seconds, "1", "–", f"{one['rss']:,.0f}", "–", f"{one['mAP']:.4f}"]
    for parts in case.parts:
        made = measured("cluster", "in_parts", parts=parts, **about)
        yield [
            label,
            str(parts),
            f"{made['seconds']:.0f}",
            f"{made['seconds'] / one['seconds']:.2f}",
            f"{made['read'] / 1e9:.2f} ({made['planned_read'] / 1e9:.2f})",
            f"{made['peak'] / 2**20:,.0f} ({made['planned_memory'] / 2**20:,.0f})",
            str(made["apart"]),
            f"{made['mAP']:.4f}",
        ]


def one_process(*, folder: str, rows: int, kind: str) -> dict[str, float]:
    """Refine in this process, and keep the result for the others to be compared with."""
    query, gallery, model = made_up(folder, rows=rows, kind=kind)
    begun = time.process_time()
    refined = refine(model, query, gallery, seed=SEED)
    seconds = time.process_time() - begun
    for name, items in zip(("query", "gallery"), refined, strict=True):
        np.save(Path(folder, f"{name}.npy"), items.features)
    return {"seconds": seconds, "mAP": score(*refined).mean_ap}


def in_parts(*, folder: str, rows: int, kind: str, parts: int) -> dict[str, float]:
    """Refine by the workers of a local cluster."""
    query, gallery, model = made_up(folder, rows=rows, kind=kind)
    cameras = CAMERAS if KINDS[kind].get("per_camera") else 1
    size = Size(len(query), len(gallery), WIDTH, cameras)
    plan = plan_of(model, size, workers=2, shards=parts, method="exact")
    file = ModelFile(Path(folder, "nformer.pt"), model.neighbours)
    with cluster_of(CLUSTER) as workers:
        place = Place(workers, Path(folder, f"in-{parts}"), file, Silent(), shards=parts)
        begun = time.process_time()
        made = refine_in_parts(model, place=place, seeds=(SEED,), query=query, gallery=gallery)
        refined = list(made)[-1]
        own = time.process_time() - begun
    took = sum(place.costs.values(), Cost())
    apart = 0
    for name, items in zip(("query", "gallery"), refined, strict=True):
        expected = np.load(Path(folder, f"{name}.npy"))
        apart += int((np.abs(items.features - expected).max(axis=1) > CLOSE).sum())
    return {
        "seconds": own + took.seconds,
        "read": took.bytes,
        "planned_read": plan.read,
        "peak": took.peak,
        "planned_memory": plan.memory,
        "apart": apart,
        "mAP": score(*refined).mean_ap,
    }


def made_up(folder: str, *, rows: int, kind: str) -> tuple[Embeddings, Embeddings, NFormer]:
    """Return queries, a gallery, and a model of random weights, which lies in the folder."""
    path = Path(folder, "nformer.pt")
    if not path.exists():
        save_nformer(path, model_of(kind))
    people = max(2, rows // IMAGES)
    centres = numpy_generator(0, "centres").standard_normal((people, WIDTH), np.float32)
    views = 0.5 * numpy_generator(0, "cameras").standard_normal((CAMERAS, WIDTH), np.float32)

    def seen(count: int, name: str) -> Embeddings:
        random = numpy_generator(SEED, name)
        pids, camids = random.integers(people, size=count), random.integers(CAMERAS, size=count)
        noise = 0.9 * random.standard_normal((count, WIDTH), np.float32)
        return Embeddings(centres[pids] + views[camids] + noise, pids, camids)

    queries = max(20, min(QUERIES, rows * QUERIES // 50_000))
    return seen(queries, "query"), seen(rows, "gallery"), load_nformer(path)


def model_of(kind: str) -> NFormer:
    """Return a model of random weights."""
    torch.manual_seed(SEED)
    settings = KINDS[kind]
    learned = NFormer(dim=WIDTH, classes=4, layers=2 if settings else 3, neighbours=20, landmarks=5)
    if not settings:
        return learned
    form = ClosedForm(dim=WIDTH, layers=2, sharpness=2.5, **settings)
    return NFormerOnClosedForm.joined(form, learned, share=0.5)
