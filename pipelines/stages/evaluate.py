"""embeddings.h5 + nformer.pt -> refined.h5, graph.h5, ranking.h5 -> metrics.json: what helps"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..artifacts.embeddings import open_embeddings, splits_in
from ..artifacts.manifest import Manifest
from ..artifacts.nformer import load_nformer
from ..artifacts.ranking import save_rankings
from ..artifacts.results import Evaluation
from ..artifacts.run import Run, require_run, writing_stage
from ..config import EvaluateConfig, as_table
from ..data.catalogue import title_of
from ..device import choose_device
from ..errors import BadInput, MissingArtifact
from ..evaluation.peak_memory import PeakMemory
from ..evaluation.plan import (
    AUTO,
    NFORMER,
    Plan,
    advised,
    chain,
    planned,
    require_known,
    without,
)
from ..evaluation.refining import Refined, refine_plainly, refine_with_nformer
from ..evaluation.scoring import Galleries, Scored, score_methods, summed_up
from ..evaluation.sets import Sets, keep_graphs, read_sets, rules_for
from ..flow import command_line
from ..progress import Progress, Silent
from ..ranking.rules import rules_named
from .refine import refined_sets, require_protocol, told

if TYPE_CHECKING:
    from ..gallery.refinement import GalleryState


@dataclass(frozen=True, eq=False)
class Evaluated:
    """An evaluation, and the gallery's states of NFormer's first draw where they were kept."""

    evaluation: Evaluation
    state: "GalleryState | None" = None


def evaluate(
    run: Run,
    *,
    config: EvaluateConfig = EvaluateConfig(),
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = Silent(),
    model: str | Path | None = None,
) -> Evaluation:
    """Score the baseline and what is asked for: refiners, re-rankings, or every one there is.

    Results are replaced when the settings differ: nothing is made from them. An evaluation that
    is up to date is read again, not computed.

    model: an NFormer of another run, which becomes this run's.

    Raises:
        MissingArtifact, StaleArtifact: embeddings.h5 or nformer.pt, with the command for it.
        BadInput: an unknown refiner or re-ranking, or one whose needs are not met; no valid query.
    """
    require_run(run, "evaluate")
    return evaluate_run(
        run, config=config, device=device, overwrite=overwrite, progress=progress, model=model
    ).evaluation


@writing_stage
def evaluate_run(
    run: Run,
    *,
    config: EvaluateConfig,
    device: str,
    overwrite: bool,
    progress: Progress,
    model: str | Path | None = None,
    keep_state: bool = False,
) -> Evaluated:
    """Do what `evaluate` does; with `keep_state` the refined gallery is kept for what follows."""
    require_known(config)
    if model is not None:
        from .adopt_nformer import adopt_nformer

        adopt_nformer(run, model, overwrite=overwrite, progress=progress)
    config = _possible_here(run, config, progress=progress)
    config = dataclasses.replace(config, rules=rules_for(run, config).name)
    inputs = _inputs(run, config)
    if "nformer.pt" in inputs:
        require_protocol(run, config)
    wanted, lists = (
        Manifest(name, "evaluate", as_table(config), inputs)
        for name in ("metrics.json", "ranking.h5")
    )
    if not overwrite and run.holds(wanted) and run.holds(lists):
        progress.message(f"{run.path('metrics.json')} is up to date")
        return Evaluated(Evaluation.read(run.path("metrics.json")))
    run.claim()
    plan, sets = _planned(
        run, config, device=device, has_nformer="nformer.pt" in inputs, progress=progress
    )
    galleries = Galleries.of(sets, rules=plan.rules, seed=config.seed)
    scored: dict[str, Scored] = {}
    state = domain = None
    if any(NFORMER in names for names in plan.chains()):
        from ..gallery import refinement  # noqa: F401  # torch's loading is no method's own cost
    with progress.task("evaluate", len(plan.methods), unit="rankings") as task:
        for names, methods in plan.chains().items():
            memory = PeakMemory()
            memory.restart()
            try:
                refined = [
                    _refined(
                        run,
                        part,
                        plan=plan,
                        names=names,
                        device=device,
                        overwrite=overwrite,
                        keep_state=keep_state,
                    )
                    for part in galleries.parts
                ]
                state = refined[0].states[0] if refined[0].states else state
                domain = refined[0].domain or domain
                for one in score_methods(
                    methods, galleries, refined=refined, plan=plan, memory=memory
                ):
                    scored[one.row.name] = one
                    task.advance()
            except BadInput as error:
                if not config.every or not scored:
                    raise
                plan = without(plan, [m for m in methods if m.name not in scored], why=str(error))
    facts = run.facts("embeddings.h5")
    called = {"dataset": facts.get("dataset", ""), "title": title_of(facts)}
    if domain is not None and (domain["foreign"] or domain["assume"] != "auto"):
        plan = dataclasses.replace(plan, notes=(told(domain), *plan.notes))
    result = summed_up(scored, sets, plan=plan, **called, domain=domain)
    keep_graphs(run, sets)
    with run.writing(lists) as (path, _):
        save_rankings(
            path,
            {name: one.ranking for name, one in scored.items() if one.ranking is not None},
            query_rows=sets.query_rows,
            gallery_rows=sets.gallery_rows,
            average_precision={name: one.average_precision for name, one in scored.items()},
        )
    with run.writing(wanted) as (path, _):
        path.write_text(result.to_json() + "\n", encoding="utf-8")
    return Evaluated(result, state)


def lacks_nformer(run: Run, config: EvaluateConfig) -> bool:
    """Return whether an NFormer is asked for that is not there, but can be trained."""
    return _lacking(run, config) and _trainable(run)


def _lacking(run: Run, config: EvaluateConfig) -> bool:
    asked = NFORMER in chain(config) and not config.every
    return asked and run.manifest("nformer.pt") is None


def _trainable(run: Run) -> bool:
    with open_embeddings(run.artifact("embeddings.h5")) as file:
        return "train" in splits_in(file)


def _possible_here(run: Run, config: EvaluateConfig, *, progress: Progress) -> EvaluateConfig:
    """Return the settings; without an NFormer and identities to train one, all that trains none."""
    if not _lacking(run, config) or _trainable(run):
        return config
    progress.warn(
        "these embeddings have no train split, so no NFormer can be trained on them. Shown are the "
        "refiners that need no training; --model FILE takes the nformer.pt of another run"
    )
    return dataclasses.replace(config, every=True, refine=("none",))


def _inputs(run: Run, config: EvaluateConfig) -> dict[str, str]:
    """Return the digests of what is evaluated: of NFormer where it refines, or may."""
    names = ["embeddings.h5"]
    needed = NFORMER in chain(config) and not config.every
    welcome = config.every or chain(config) == (AUTO,)
    if needed or (welcome and run.manifest("nformer.pt") is not None):
        names.append("nformer.pt")
        if run.manifest("nformer.pt") is None:
            without = command_line("evaluate", "--all", run=run.folder)
            raise MissingArtifact(f"{run.missing('nformer.pt')}. Without it: {without}")
    return {name: run.digest(name) for name in names}


def _planned(
    run: Run, config: EvaluateConfig, *, device: str, has_nformer: bool, progress: Progress
) -> tuple[Plan, Sets]:
    """Return the rows to compute, what is recommended being found out first, and the sets."""
    advice = None
    if chain(config) == (AUTO,):
        from ..evaluation.recommend import recommend

        advice = recommend(run, seed=config.seed, assume=config.assume)
        progress.message(advice.describe())
        config = dataclasses.replace(config, refine=advice.refine or ("none",))
    rules = rules_named(config.rules)
    sets = read_sets(run, method=config.search, device=device, progress=progress, rules=rules)
    plan = planned(
        config,
        sets.query,
        gallery=sets.gallery,
        train=sets.train,
        has_nformer=has_nformer,
        rules=rules,
    )
    return (plan if advice is None else advised(plan, advice)), sets


def _refined(
    run: Run,
    sets: Sets,
    *,
    plan: Plan,
    names: tuple[str, ...],
    device: str,
    overwrite: bool,
    keep_state: bool,
) -> Refined:
    """Return query and gallery after a chain of refiners; NFormer's alone are refined.h5's."""
    config = plan.config
    if NFORMER not in names:
        return refine_plainly(names, sets, config=config)
    if names == (NFORMER,) and not plan.rules.selects:
        return refined_sets(
            run, sets, config=config, device=device, overwrite=overwrite, keep_states=keep_state
        )
    model = load_nformer(run.artifact("nformer.pt"), device=choose_device(device))
    model.neighbours = config.neighbours or model.neighbours
    return refine_with_nformer(names, sets, config=config, model=model, draws=config.landmark_draws)
