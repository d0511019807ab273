"""embeddings.h5 + nformer.pt -> refined.h5"""

from pathlib import Path
from typing import TYPE_CHECKING

from ..artifacts.embeddings import save_embeddings
from ..artifacts.manifest import Manifest
from ..artifacts.nformer import load_nformer
from ..artifacts.run import Run
from ..config import EvaluateConfig, as_table
from ..device import choose_device
from ..evaluation.bench import Bench, keep_graphs
from ..evaluation.camera_use import relabelled, shown_to, uses_cameras
from ..gallery.refinement import average_draws, refine_draws
from ..nformer.landmarks import landmark_draws
from ..progress import Progress, Silent

if TYPE_CHECKING:
    from ..nformer.model import NFormer

ARTIFACT, STAGE = "refined.h5", "refine"
SETTINGS = (
    *("protocol", "seed", "neighbours", "landmarks", "landmark_draws", "average_draws"),
    "camera_aware",
)


def refine_run(
    run: Run,
    *,
    config: EvaluateConfig = EvaluateConfig(),
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = Silent(),
) -> Path:
    """Refine the run's query and gallery, without ranking or scoring them.

    Results are replaced when the settings differ: nothing is made from them.

    Raises:
        MissingArtifact, StaleArtifact: embeddings.h5 or nformer.pt, with the command for it.
    """
    inputs = {name: run.digest(name) for name in ("embeddings.h5", "nformer.pt")}
    settings = {key: as_table(config)[key] for key in SETTINGS}
    wanted = Manifest(ARTIFACT, STAGE, settings, inputs)
    if not overwrite and run.holds(wanted):
        progress.message(f"{run.path(ARTIFACT)} is up to date")
        return run.path(ARTIFACT)
    model = load_nformer(run.artifact("nformer.pt"), device=choose_device(device))
    model.neighbours = config.neighbours or model.neighbours
    bench = Bench.of(run, config, device, progress)
    query, gallery = bench.near.query_items, bench.near.gallery_items
    progress.message(f"refining {len(query)} queries and {len(gallery)} gallery items")
    _write_refined(run, wanted, model, bench)
    keep_graphs(run, bench)
    return run.path(ARTIFACT)


def _write_refined(run: Run, wanted: Manifest, model: "NFormer", bench: Bench) -> None:
    """Refine with the first draw of the landmarks, or with the mean over all of them."""
    config, rows = bench.config, []
    draws = config.landmark_draws if config.average_draws else 1
    pair = (bench.near.query_items, bench.near.gallery_items)
    found = refine_draws(
        model,
        *shown_to(pair, aware=uses_cameras(model, pair, config.camera_aware)),
        landmark_draws(config.seed, draws),
        protocol=config.protocol,
        landmarks=config.landmarks,
        near=bench.near,
        record=lambda chosen: rows.append(chosen.tolist()),
    )
    refined = relabelled(pair, average_draws(list(found)) if draws > 1 else next(found))
    dataset = run.facts("embeddings.h5").get("dataset", "")
    with run.writing(wanted) as (path, facts):
        facts.update(dataset=dataset, query=len(refined[0]), gallery=len(refined[1]))
        facts["landmark_rows"] = rows
        save_embeddings(path, query=refined[0], gallery=refined[1], dataset=dataset)
