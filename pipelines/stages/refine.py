"""embeddings.h5 + nformer.pt -> refined.h5"""

from pathlib import Path
from typing import Any

from ..artifacts.embeddings import load_embeddings, load_labels, save_embeddings
from ..artifacts.manifest import Manifest
from ..artifacts.nformer import load_nformer
from ..artifacts.run import Run, writing_stage
from ..config import EvaluateConfig, as_table, require_papers_model
from ..device import choose_device
from ..evaluation.plan import NFORMER
from ..evaluation.refining import Refined, refine_with_nformer
from ..evaluation.sets import Sets, keep_graphs, read_sets, rules_for
from ..progress import Progress, Silent

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
    progress: Progress = Silent(),
) -> Path:
    """Refine the run's query and gallery, without ranking or scoring them.

    Results are replaced when the settings differ: nothing is made from them.

    Raises:
        MissingArtifact, StaleArtifact: embeddings.h5 or nformer.pt, with the command for it.
    """
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
    draws = draws_written(config)
    refined = refine_and_write(run, sets, config=config, device=device, draws=draws)
    if refined.domain is not None and refined.domain["foreign"]:
        progress.warn(told(refined.domain))
    keep_graphs(run, sets)
    return run.path(ARTIFACT)


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
) -> Refined:
    """Refine by NFormer; write the first draw of the landmarks, or the mean over all of them."""
    wanted = refined_manifest(run, config)
    model = load_nformer(run.artifact("nformer.pt"), device=choose_device(device))
    model.neighbours = config.neighbours or model.neighbours
    refined = refine_with_nformer(
        (NFORMER,), sets, config=config, model=model, draws=draws, keep_states=keep_states
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
