"""embeddings.h5 + nformer.pt -> refined.h5 and, where asked for, gallery.pt"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from ..artifacts.embeddings import save_embeddings
from ..artifacts.gallery_states import RefinedGallery, save_gallery
from ..artifacts.manifest import Manifest
from ..artifacts.nformer import load_nformer
from ..artifacts.run import Run
from ..config import EvaluateConfig, as_table
from ..device import choose_device
from ..embeddings import Embeddings
from ..errors import BadInput
from ..evaluation.bench import Bench, keep_graphs
from ..evaluation.camera_use import relabelled, shown_to, uses_cameras
from ..gallery.refinement import average_draws, refine_draws
from ..gallery.states import refine_gallery
from ..nformer.landmarks import landmark_draws
from ..progress import Progress, Silent

if TYPE_CHECKING:
    from ..nformer.model import NFormer

ARTIFACT, STATES, STAGE = "refined.h5", "gallery.pt", "refine"
SETTINGS = (
    *("protocol", "seed", "neighbours", "landmarks", "landmark_draws", "average_draws"),
    "camera_aware",
)


def refine_run(
    run: Run,
    *,
    config: EvaluateConfig = EvaluateConfig(),
    keep_states: bool = False,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = Silent(),
) -> Path:
    """Refine the run's query and gallery, without ranking or scoring them.

    Results are replaced when the settings differ: nothing is made from them.

    keep_states: also write gallery.pt, against which `refine_queries` refines new queries.

    Raises:
        MissingArtifact, StaleArtifact: embeddings.h5 or nformer.pt, with the command for it.
        BadInput: states of the joint protocol, in which the gallery depends on the queries.
    """
    if keep_states and config.protocol != "isolated":
        raise BadInput(
            "--keep-states needs --protocol isolated: in the joint protocol the gallery itself "
            "depends on the queries, so there is nothing to keep for new ones"
        )
    inputs = {name: run.digest(name) for name in ("embeddings.h5", "nformer.pt")}
    settings = {key: as_table(config)[key] for key in SETTINGS}
    names = (ARTIFACT, STATES) if keep_states else (ARTIFACT,)
    wanted = {name: Manifest(name, STAGE, settings, inputs) for name in names}
    missing = [name for name in names if overwrite or not run.holds(wanted[name])]
    if not missing:
        progress.message(f"{run.path(ARTIFACT)} is up to date")
        return run.path(ARTIFACT)
    model = load_nformer(run.artifact("nformer.pt"), device=choose_device(device))
    model.neighbours = config.neighbours or model.neighbours
    bench = Bench.of(run, config, device, progress)
    query, gallery = bench.near.query_items, bench.near.gallery_items
    progress.message(f"refining {len(query)} queries and {len(gallery)} gallery items")
    if ARTIFACT in missing:
        _write_refined(run, wanted[ARTIFACT], model, bench)
    if STATES in missing:
        _write_states(run, wanted[STATES], model, gallery, config)
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


def _write_states(
    run: Run, wanted: Manifest, model: "NFormer", gallery: Embeddings, config: EvaluateConfig
) -> None:
    state = refine_gallery(model, gallery, landmarks=config.landmarks, seed=config.seed)
    refined = RefinedGallery(state, gallery.pids, gallery.camids, list(gallery.names))
    manifest = dataclasses.replace(wanted, facts={"gallery": len(gallery), "dim": model.dim})
    with run.writing(manifest) as (path, _):
        save_gallery(path, refined)
