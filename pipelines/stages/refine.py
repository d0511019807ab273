"""embeddings.h5 + nformer.pt -> refined.h5"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifacts.embeddings import (
    load_embeddings,
    load_labels,
    open_embeddings,
    save_embeddings,
)
from ..artifacts.manifest import Manifest
from ..artifacts.nformer import load_nformer
from ..artifacts.run import Run, writing_stage
from ..config import EvaluateConfig, as_table, require_papers_model
from ..device import choose_device
from ..distributed.asked import LOCAL, require_cluster, require_done_in_parts
from ..evaluation.plan import NFORMER
from ..evaluation.refining import Refined, refine_with_nformer
from ..evaluation.sets import Sets, keep_graphs, read_sets, rules_for
from ..files import text_digest
from ..progress import Progress, Silent

if TYPE_CHECKING:
    from ..distributed.plan import Plan, Size
    from ..nformer.model import NFormer

ARTIFACT, STAGE = "refined.h5", "refine"
SETTINGS = (
    *("protocol", "seed", "neighbours", "landmarks", "landmark_draws", "average_draws"),
    *("camera_aware", "assume", "search"),
)
FACTS = ("seconds", "camera_aware", "kind", "domain", "landmark_rows")  # of Refined


@writing_stage
def refine_run(
    run: Run,
    *,
    config: EvaluateConfig = EvaluateConfig(),
    device: str = "auto",
    overwrite: bool = False,
    cluster: str = "",
    shards: int = 0,
    progress: Progress = Silent(),
) -> Path:
    """Refine the run's query and gallery, without ranking or scoring them.

    Results are replaced when the settings differ: nothing is made from them.

    cluster: "local:N" or the address of a Ray cluster, whose workers refine the set in parts.
    shards:  how many parts; 0: one for each worker, or more.

    Raises:
        MissingArtifact, StaleArtifact: embeddings.h5 or nformer.pt, with the command for it.
        BadInput: what a cluster's workers do not do, or no cluster.
    """
    if cluster:
        require_cluster(cluster)
        require_done_in_parts(protocol=config.protocol, search=config.search, device=device)
    require_protocol(run, config)
    if not overwrite and run.holds(refined_manifest(run, config)):
        progress.message(f"{run.path(ARTIFACT)} is up to date")
        return run.path(ARTIFACT)
    run.claim()
    sets = read_sets(
        run,
        method=config.search,
        device=device,
        progress=progress,
        rules=rules_for(run, config),
    )
    progress.message(f"refining {len(sets.query)} queries and {len(sets.gallery)} gallery items")
    settings: dict[str, Any] = {"config": config, "draws": draws_written(config)}
    if cluster:
        with on_cluster(run, config, cluster=cluster, shards=shards, progress=progress) as there:
            refined = refine_and_write(run, sets, device="cpu", elsewhere=there, **settings)
    else:
        refined = refine_and_write(run, sets, device=device, **settings)
    if refined.domain is not None and refined.domain["foreign"]:
        progress.warn(told(refined.domain))
    keep_graphs(run, sets)
    return run.path(ARTIFACT)


def plan_refinement(
    run: Run, *, config: EvaluateConfig = EvaluateConfig(), cluster: str, shards: int = 0
) -> "Plan":
    """Return what `refine_run` on a cluster will take; nothing is refined.

    Raises:
        MissingArtifact, StaleArtifact, BadInput: as `refine_run`.
    """
    from ..distributed.plan import plan_of
    from ..distributed.refinement import require_neighbours_by_cosine
    from ..distributed.workers import cluster_of

    require_cluster(cluster)
    require_done_in_parts(protocol=config.protocol, search=config.search, device="cpu")
    require_protocol(run, config)
    model = load_nformer(run.artifact("nformer.pt"))
    model.neighbours = config.neighbours or model.neighbours
    require_neighbours_by_cosine(model)
    size = size_of(run, model, config=config)
    if cluster.startswith(LOCAL):
        workers = int(cluster.removeprefix(LOCAL))
    else:
        with cluster_of(cluster) as there:
            workers = there.count
    return plan_of(model, size, workers=workers, shards=shards, method=config.search)


def size_of(run: Run, model: "NFormer", *, config: EvaluateConfig) -> "Size":
    """Return the sizes of the set that a run refines, and of how many cameras it takes lists."""
    from ..distributed.plan import Size
    from ..nformer.on_closed_form import NFormerOnClosedForm

    with open_embeddings(run.artifact("embeddings.h5")) as file:
        known = {split: file[split]["pids"][:] >= 0 for split in ("query", "gallery")}
        camids = file["gallery"]["camids"][:][known["gallery"]]
    queries, gallery = (int(known[split].sum()) for split in ("query", "gallery"))
    if config.protocol == "joint":
        queries, gallery = 0, queries + gallery
    each = isinstance(model, NFormerOnClosedForm) and model.closed_form.settings.per_camera
    cameras = len(set(camids.tolist())) if each and config.camera_aware != "off" else 1
    return Size(queries, gallery, model.dim, max(1, cameras))


@contextmanager
def on_cluster(
    run: Run, config: EvaluateConfig, *, cluster: str, shards: int, progress: Progress
) -> Iterator[Callable[..., Any]]:
    """Yield what refines a set in parts, on a cluster, from where an earlier command ended."""
    from ..distributed.gallery_steps import ModelFile
    from ..distributed.items import Place
    from ..distributed.parts import Cost
    from ..distributed.refinement import refine_in_parts
    from ..distributed.workers import cluster_of

    key = text_digest(refined_manifest(run, config).to_json())
    folder = run.scratch(ARTIFACT).absolute() / key[:16]
    file = ModelFile(run.path("nformer.pt").absolute(), config.neighbours)
    with cluster_of(cluster) as workers:
        progress.message(f"{workers.count} workers of the cluster {cluster}")
        place = Place(workers, folder, file, progress, shards=shards, method=config.search)
        yield partial(refine_in_parts, place=place)
    if place.costs:  # a closed form of k = 1 has no neighbours to search
        progress.message(str(sum(place.costs.values(), Cost())))
    run.clear_scratch(ARTIFACT)


def require_protocol(run: Run, config: EvaluateConfig) -> None:
    """Raise BadInput where the run's model cannot be refined with under the protocol."""
    if run.manifest("nformer.pt") is not None:
        kind = str(run.facts("nformer.pt").get("kind", ""))
        require_papers_model(config.protocol, kind=kind)


def told(domain: dict[str, Any]) -> str:
    """Return what a domain's table says, in a sentence or two."""
    from ..refiners.domain_shift import Domain

    return str(Domain(domain["shift"], domain["assume"]))


def refined_manifest(run: Run, config: EvaluateConfig) -> Manifest:
    """Return the manifest of the refined.h5 that the settings ask for."""
    inputs = {name: run.digest(name) for name in ("embeddings.h5", "nformer.pt")}
    settings = {key: as_table(config)[key] for key in SETTINGS}
    if rules_for(run, config).skips_itself:  # then queries may be the gallery
        settings["one_set"] = True
    return Manifest(ARTIFACT, STAGE, settings, inputs)


def draws_written(config: EvaluateConfig) -> int:
    """Return how many draws of the landmarks refined.h5 is made of: the first, or their mean."""
    return config.landmark_draws if config.average_draws else 1


def refined_sets(
    run: Run,
    sets: Sets,
    *,
    config: EvaluateConfig,
    device: str,
    overwrite: bool,
    keep_states: bool = False,
) -> Refined:
    """Return query and gallery refined by NFormer, read from refined.h5 where it is current.

    Where several draws are compared, all are refined, and refined.h5 holds the first.
    """
    wanted = refined_manifest(run, config)
    whole = draws_written(config) == config.landmark_draws
    if overwrite or not whole or not run.holds(wanted):
        return refine_and_write(
            run,
            sets,
            config=config,
            device=device,
            draws=config.landmark_draws,
            keep_states=keep_states,
        )
    path, facts = run.path(ARTIFACT), run.facts(ARTIFACT)
    query, gallery = load_embeddings(path, "query"), load_embeddings(path, "gallery")
    pair = (gallery, gallery) if sets.near.one_set else (query, gallery)
    kept = {key: facts[key] for key in FACTS}
    return Refined([pair], **kept)


def refine_and_write(
    run: Run,
    sets: Sets,
    *,
    config: EvaluateConfig,
    device: str,
    draws: int,
    keep_states: bool = False,
    elsewhere: Callable[..., Any] | None = None,
) -> Refined:
    """Refine by NFormer; write the first draw of the landmarks, or the mean over all of them."""
    wanted = refined_manifest(run, config)
    model = load_nformer(run.artifact("nformer.pt"), device=choose_device(device))
    model.neighbours = config.neighbours or model.neighbours
    refined = refine_with_nformer(
        (NFORMER,),
        sets,
        config=config,
        model=model,
        draws=draws,
        keep_states=keep_states,
        elsewhere=elsewhere,
    )
    query, gallery = refined.pairs[0]
    dataset = run.facts("embeddings.h5").get("dataset", "")
    with run.writing(wanted) as (path, facts):
        facts.update(dataset=dataset, query=len(query), gallery=len(gallery))
        facts.update({key: getattr(refined, key) for key in FACTS})
        if refined.domain is not None:
            facts["domain_shift"] = refined.domain["words"]
        labels = load_labels(run.path("embeddings.h5"))
        save_embeddings(path, query=query, gallery=gallery, dataset=dataset, labels=labels)
    return refined
