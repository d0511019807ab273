"""Training embeddings -> an NFormer, on the closed form or alone, and facts about its making."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config import NFormerConfig
from ..embeddings import Embeddings
from ..errors import BadInput
from ..flow import command_line
from ..nformer.model import NFormer
from ..progress import Progress
from .default_model import train_default_model
from .held_out import HeldOut, split_identities
from .log import LogFiles
from .nformer import Trained, Trainer


def fit_nformer(
    train: Embeddings,
    config: NFormerConfig,
    *,
    device: torch.device,
    folder: Path,
    log: Path | LogFiles,
    key: str,
    progress: Progress,
    remedy: str,
    seen: bool = False,
) -> tuple[NFormer, dict[str, Any]]:
    """Train on embeddings whose identities are known, as the settings say.

    folder, log, key: of the resumable training, as for `Trainer.run`.
    remedy: what the caller's user can do where identities are too few.
    seen:   whether the network of the embeddings was trained on these identities.

    Raises:
        BadInput: no labels, fewer than two identities, or camera ids asked for and not known.
    """
    train = _labelled(train, remedy=remedy)
    _tell_cuts(train, config, progress=progress)
    options: dict[str, Any] = {"folder": folder, "log": log, "key": key, "progress": progress}
    if not config.closed_form:
        return _trained_alone(train, config.settled(), device=device, **options)
    if config.camera_aware == "on" and not train.has_cameras:
        raise BadInput(
            "--camera-aware on needs camera ids, and the training embeddings have none; give "
            "camids to the import, or leave it at auto"
        )
    guided = train_default_model(train, config, device=device, seen=seen, **options)
    return guided.model, {**_counts(train), **guided.facts}


def _trained_alone(
    train: Embeddings,
    config: NFormerConfig,
    *,
    device: torch.device,
    folder: Path,
    log: Path | LogFiles,
    key: str,
    progress: Progress,
) -> tuple[NFormer, dict[str, Any]]:
    """Train NFormer without the closed form and keep the best step."""
    training, held_out = _split(train, config, progress=progress)
    trainer = Trainer(training, held_out, config=config, device=device)
    baseline = held_out.baseline() if held_out else None
    trained = trainer.run(folder, log, key=key, progress=progress)
    _tell(trained, baseline, progress=progress)
    return trained.model, {
        **_counts(training),
        "held_out_identities": held_out.identities if held_out else 0,
        "held_out_mAP_before": baseline,
        "held_out_mAP": trained.best,
        "best_step": trained.best_step,
        "held_out_checks": trained.checks,
    }


def _counts(training: Embeddings) -> dict[str, int]:
    return {
        "dim": training.dim,
        "identities": len(np.unique(training.pids)),
        "embeddings": len(training),
    }


def _labelled(train: Embeddings, *, remedy: str) -> Embeddings:
    """Return the rows that have an identity; BadInput when there are not two identities."""
    labelled = train.without_junk()
    identities = len(np.unique(labelled.pids))
    if identities < 2:
        raise BadInput(
            f"the training embeddings have labels of {identities} "
            f"identit{'y' if identities == 1 else 'ies'}; training needs two "
            f"or more: {remedy}"
        )
    return labelled


def _split(
    train: Embeddings, config: NFormerConfig, *, progress: Progress
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
    return training, held_out


def _tell_cuts(train: Embeddings, config: NFormerConfig, *, progress: Progress) -> None:
    """Say which settings ask for more embeddings than there are."""
    for name in ("batch", "neighbours", "landmarks"):
        asked = getattr(config, name)
        if asked > len(train):
            progress.message(
                f"{name} is {len(train)} instead of {asked}: the train split has no more embeddings"
            )


def _tell(trained: Trained, baseline: float | None, *, progress: Progress) -> None:
    if trained.best is None or baseline is None:
        return
    before, best = 100 * baseline, 100 * trained.best
    figures = f"held-out mAP {before:.1f} before, {best:.1f} at step {trained.best_step}"
    if trained.best > baseline:
        progress.message(f"{figures}, which is kept")
    else:
        progress.warn(
            f"{figures}: training does not help on these embeddings. Compare it with "
            f"the baseline ({command_line('evaluate')}) before using it; more steps or another "
            "--set lr= may do better"
        )
