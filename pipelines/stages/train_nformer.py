"""embeddings.h5 -> nformer.pt"""

from pathlib import Path

import numpy as np

from ..artifacts.embeddings import load_embeddings
from ..artifacts.manifest import Manifest
from ..artifacts.nformer import save_nformer
from ..artifacts.run import Run
from ..config import NFormerConfig, as_table
from ..device import choose_device
from ..embeddings import Embeddings
from ..errors import BadInput
from ..files import text_digest
from ..progress import Progress, Silent
from ..training.default_model import train_default_model
from ..training.held_out import HeldOut, split_identities
from ..training.nformer import Trained, Trainer

ARTIFACT = "nformer.pt"


def train_nformer(
    run: Run,
    *,
    config: NFormerConfig = NFormerConfig(),
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = Silent(),
) -> Path:
    """Train NFormer on the train split's embeddings and keep the best step.

    A seeded share of the identities is held out; what refinement does to their mAP decides which
    step is kept, and whether training helped at all is said.

    Raises:
        MissingArtifact, StaleArtifact: embeddings.h5, with the command for it.
        BadInput: no train split, no labels, fewer than two identities.
        PipelineError: the loss is not finite; names the step.
    """
    inputs = {"embeddings.h5": run.digest("embeddings.h5")}
    wanted = Manifest(ARTIFACT, "train-nformer", as_table(config), inputs)
    if run.is_current(wanted, overwrite=overwrite):
        progress.message(f"{run.path(ARTIFACT)} is up to date")
        return run.path(ARTIFACT)
    train = _labelled(load_embeddings(run.artifact("embeddings.h5"), "train"))
    if config.closed_form:
        _train_on_prior(run, train, config, wanted, device=device, progress=progress)
        return run.path(ARTIFACT)
    config = config.settled()
    training, held_out = _split(train, config, progress)
    trainer = Trainer(training, held_out, config=config, device=choose_device(device))
    baseline = held_out.baseline() if held_out else None
    trained = trainer.run(
        run.scratch("train-nformer"),
        run.path("train.jsonl"),
        key=text_digest(wanted.to_json()),
        progress=progress,
    )
    _tell(trained, baseline, progress)
    with run.writing(wanted) as (path, facts):
        facts.update(_facts(run, training, held_out, baseline, trained))
        save_nformer(path, trained.model, **facts)
    run.clear_scratch("train-nformer")
    return run.path(ARTIFACT)


def _train_on_prior(
    run: Run,
    train: Embeddings,
    config: NFormerConfig,
    wanted: Manifest,
    *,
    device: str,
    progress: Progress,
) -> None:
    """Choose a closed form, let NFormer add to it, and write the two as one model."""
    if config.camera_aware == "on" and not train.has_cameras:
        raise BadInput(
            "--camera-aware on needs camera ids, and embeddings.h5 has none for its train split; "
            "give camids to the import, or leave it at auto"
        )
    guided = train_default_model(
        train,
        config,
        device=choose_device(device),
        folder=run.scratch("train-nformer"),
        log=run.path("train.jsonl"),
        key=text_digest(wanted.to_json()),
        progress=progress,
    )
    with run.writing(wanted) as (path, facts):
        facts.update(_origin(run, train), **guided.facts)
        save_nformer(path, guided.model, **facts)
    run.clear_scratch("train-nformer")


def _labelled(train: Embeddings) -> Embeddings:
    """Return the rows that have an identity; BadInput when there are not two identities."""
    labelled = train.without_junk()
    identities = len(np.unique(labelled.pids))
    if identities < 2:
        raise BadInput(
            f"embeddings.h5 has labels of {identities} identities in its train split; training "
            "needs two or more: give pids to the import, or import a trained model with "
            "nformer import-nformer"
        )
    return labelled


def _split(
    train: Embeddings, config: NFormerConfig, progress: Progress
) -> tuple[Embeddings, HeldOut | None]:
    """Hold identities out, and say what of the config does not fit the set."""
    training, apart = split_identities(train, share=config.held_out, seed=config.seed)
    held_out = HeldOut.of(apart, seed=config.seed) if apart is not None else None
    if held_out is None:
        training = train
        if config.held_out > 0:
            progress.warn(
                "no identities could be held out with a match among them: the last step is kept, "
                "and whether training helps is not known"
            )
    for name, value in (
        ("batch", config.batch),
        ("neighbours", config.neighbours),
        ("landmarks", config.landmarks),
    ):
        if value > len(training):
            progress.warn(f"{name} is {value}, the set has {len(training)} embeddings: all serve")
    return training, held_out


def _tell(trained: Trained, baseline: float | None, progress: Progress) -> None:
    if trained.best is None or baseline is None:
        return
    figures = f"held-out mAP {baseline:.3f} before, {trained.best:.3f} at step {trained.best_step}"
    if trained.best > baseline:
        progress.message(f"{figures}, which is kept")
    else:
        progress.warn(
            f"{figures}: training does not help on these embeddings. Compare with the baseline in "
            "nformer evaluate before using it; more steps or another --set lr= may do better"
        )


def _facts(
    run: Run,
    training: Embeddings,
    held_out: HeldOut | None,
    baseline: float | None,
    trained: Trained,
) -> dict[str, object]:
    return {
        **_origin(run, training),
        "held_out_identities": held_out.identities if held_out else 0,
        "held_out_mAP_before": baseline,
        "held_out_mAP": trained.best,
        "best_step": trained.best_step,
        "held_out_checks": trained.checks,
    }


def _origin(run: Run, training: Embeddings) -> dict[str, object]:
    kept = run.facts("embeddings.h5")
    return {
        **{key: kept[key] for key in ("dataset", "root") if key in kept},
        "dim": training.dim,
        "identities": len(np.unique(training.pids)),
        "embeddings": len(training),
    }
