"""The default model: a closed form chosen by cross-validation, and what NFormer adds to it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ..config import NFormerConfig
from ..embeddings import Embeddings
from ..errors import BadInput
from ..gallery.refinement import refine
from ..nformer.model import NFormer
from ..nformer.on_closed_form import NFormerOnClosedForm
from ..progress import Progress
from ..ranking.metrics import score
from ..refiners.closed_form import ClosedForm, ClosedFormSettings
from ..refiners.edge_gate import EdgeGate
from ..refiners.fitting import TrainingRows, fit_closed_form, fit_shift
from ..seeding import numpy_generator
from .choices import KeepingTask, Scores, keep_gate, kept_gate
from .edge_gate import PARTS, TOLERANCE, train_edge_gate
from .folds import make_folds
from .held_out import SMALLEST, HeldOut, split_identities
from .log import LogFiles
from .nformer import Trainer
from .selection import CameraAware, Chosen, choose_closed_form

SHARES = (0.25, 0.5, 1.0)  # of the learned part
ARITHMETIC = 1.2e12  # operations that learning may take where the number of steps is not given
FEWEST_STEPS = 20  # fewer teach nothing
LEAST_GAIN = 0.005  # held-out mAP below which what was learned is dropped


@dataclass(frozen=True)
class DefaultModel:
    """The model, and facts about its making for the manifest."""

    model: NFormerOnClosedForm
    chosen: Chosen | None
    facts: dict[str, Any]


def train_default_model(
    train: Embeddings,
    config: NFormerConfig,
    *,
    device: torch.device,
    folder: Path,
    log: Path | LogFiles,
    key: str,
    progress: Progress,
    seen: bool = False,
) -> DefaultModel:
    """Choose and fit the closed form, then let NFormer learn on its rows, kept where it helps.

    folder, log, key: of the resumable training, as for `Trainer.run`.
    seen: whether the network was trained on these identities.
    """
    train = with_cameras_that_differ(train, config, progress=progress)
    scores = Scores(folder, key=key)
    chosen = select(train, config, scores=scores, seen=seen, progress=progress)
    settings = chosen.settings if chosen else ClosedFormSettings()
    progress.message(describe(chosen, train))
    rows = TrainingRows.of(train.features, train.pids, camids=train.camids)
    cameras = train.has_cameras and config.camera_aware != "off"
    kept = kept_gate(folder, key=key, chosen=str(settings))
    gate, gate_facts = kept or edge_gate(
        rows, settings, cameras=cameras, seed=config.seed, progress=progress
    )
    keep_gate(folder, gate, facts=gate_facts, key=key, chosen=str(settings))
    settings = replace(settings, gate=gate is not None)
    learned, share, facts = _learned(
        train,
        settings,
        gate=gate,
        config=config,
        device=device,
        folder=folder,
        log=log,
        key=key,
        progress=progress,
    )
    closed_form = fit_closed_form(rows, settings, gate=gate)
    closed_form.shift = fit_shift(rows)
    if chosen is not None and not config.neighbours:
        note_images(closed_form, chosen)
    return DefaultModel(
        NFormerOnClosedForm.joined(closed_form, learned, share=share),
        chosen,
        {
            "closed_form": settings.as_table(),
            "share": share,
            **gate_facts,
            **_certainty(chosen),
            **facts,
        },
    )


def with_cameras_that_differ(
    train: Embeddings, config: NFormerConfig, *, progress: Progress
) -> Embeddings:
    """Return rows without cameras where no identity has two: else no held-out query has a match."""
    seen = np.unique(np.stack([train.pids, train.camids], axis=1), axis=0)
    if len(seen) > len(np.unique(train.pids)) or not train.has_cameras:
        return train
    if config.camera_aware == "on":
        raise BadInput(
            "--camera-aware on needs training identities that two cameras see; here each identity "
            "is seen by one. Leave --camera-aware at auto"
        )
    progress.warn(
        "all training images are of one camera: held-out identities are matched within it, and "
        "nothing about cameras is learned"
        if len(np.unique(train.camids)) == 1
        else "each training identity is seen by one camera: held-out identities are matched within "
        "it, and nothing about cameras is learned"
    )
    return Embeddings(train.features, train.pids, np.full(len(train), -1), train.names)


def select(
    train: Embeddings,
    config: NFormerConfig,
    *,
    scores: Scores,
    seen: bool = False,
    progress: Progress,
) -> Chosen | None:
    """Choose by cross-validation; None where no held-out query would have a match."""
    rows = TrainingRows.of(train.features, train.pids, camids=train.camids)
    if scores:
        progress.message("going on with what cross-validation had found out")
    folds = make_folds(rows, seed=config.seed, scores=scores)
    if not folds:
        progress.warn(
            "no held-out identity has a match: nothing can be chosen, and nformer.pt leaves "
            "embeddings as they are. To mend it, give each training identity two images or more"
        )
        return None
    aware: CameraAware = config.camera_aware if train.has_cameras else "off"
    with progress.task("choose by cross-validation", None, unit="candidates") as task:
        return choose_closed_form(
            folds,
            camera_aware=aware,
            neighbours=config.neighbours or None,
            seen=seen,
            task=KeepingTask(task, scores),
        )


def edge_gate(
    rows: TrainingRows,
    settings: ClosedFormSettings,
    *,
    cameras: bool,
    seed: int,
    progress: Progress,
) -> tuple[EdgeGate | None, dict[str, Any]]:
    """Train the edge gate and say whether it is kept."""
    with progress.task("train the edge gate", PARTS, unit="parts") as task:
        gate, facts = train_edge_gate(rows, settings, cameras=cameras, seed=seed, task=task)
    if "gate_gain" not in facts:
        progress.message("No edge gate: too few edges of one person to learn from.")
    else:
        gain, error = facts["gate_gain"], facts["gate_gain_error"]
        progress.message(told_of_gate(gain, error=error, kept=gate is not None))
    return gate, facts


def told_of_gate(gain: float, *, error: float, kept: bool) -> str:
    """Return in words what the edge gate changed in held-out mAP, and whether it is kept."""
    if not kept:
        return (
            f"No edge gate kept: held-out mAP or rank-1 fell with it (mAP {100 * gain:+.1f}, "
            f"standard error {100 * error:.1f})."
        )
    reason = "" if gain > error else f", no loss of more than {100 * TOLERANCE:g} and of its error"
    figures = f"held-out mAP {100 * gain:+.1f} (standard error {100 * error:.1f})"
    return f"Edge gate kept: {figures}{reason}."


def note_images(closed_form: ClosedForm, chosen: Chosen) -> None:
    """Note for how many images of a person k was chosen, so that it can fit sets that are unlike.

    Not where the network drew held-out identities together as it never will test identities.
    """
    if chosen.seen:
        return
    closed_form.images.fill_(chosen.images)
    closed_form.within.copy_(chosen.within)
    closed_form.between.copy_(chosen.between)


def describe(chosen: Chosen | None, train: Embeddings) -> str:
    """Return in one line what was chosen, from what, and how sure it is."""
    if chosen is None:
        return "chosen: the embeddings as they are"
    settings, (gain, error) = chosen.settings, chosen.gain
    parts = [f"k = {settings.neighbours}" + (" of each camera" if settings.per_camera else "")]
    if settings.neighbours == 1:
        parts = ["no neighbours (k = 1)"]
    elif settings.layers > 1:
        parts.append(f"read {settings.layers} times")
    parts.append({"none": "not centred", "global": "mean subtracted",
                  "camera": "camera means subtracted"}[settings.centre])  # fmt: skip
    parts.append(f"shrinkage {settings.shrinkage:g}" if settings.shrinkage < 1 else "not whitened")
    per_person = len(train) / len(np.unique(train.pids))
    return (
        f"chosen on held-out identities ({len(chosen.scores)} folds, {per_person:.3g} images an "
        f"identity): {', '.join(parts)}; held-out mAP {100 * chosen.baseline.mean():.1f} before, "
        f"{100 * chosen.mean_ap:.1f} after (gain {100 * gain:.1f} ± {100 * error:.1f})"
    )


def _learned(
    train: Embeddings,
    settings: ClosedFormSettings,
    *,
    gate: EdgeGate | None,
    config: NFormerConfig,
    device: torch.device,
    folder: Path,
    log: Path | LogFiles,
    key: str,
    progress: Progress,
) -> tuple[NFormer | None, float, dict[str, Any]]:
    """Train NFormer on some identities' refined rows; return it where others gain by it."""
    training, apart = split_identities(train, share=config.held_out, seed=config.seed)
    held_out = HeldOut.of(apart, seed=config.seed) if apart is not None else None
    steps = config.steps or affordable_steps(config, rows=len(training), dim=train.dim)
    too_few = held_out is not None and held_out.identities < SMALLEST  # to tell a gain from chance
    if held_out is None or ((steps < FEWEST_STEPS or too_few) and not config.steps):
        why = f"{steps} steps take as long as is spent on them, fewer than {FEWEST_STEPS}"
        if too_few and held_out is not None:
            why = f"{held_out.identities} identities could be held out, fewer than {SMALLEST}"
        elif held_out is None:
            why = "no identity could be held out with a match to a query of it"
        progress.message(f"No NFormer was trained: {why}. The model is the closed form.")
        return None, 0.0, {"learned_steps": 0}
    config = replace(config, steps=steps, neighbours=max(2, settings.neighbours))
    apart_rows = held_out_rows(training, held_out, settings=settings, gate=gate)
    trainer = Trainer(
        crossed_rows(training, settings, gate=gate, seed=config.seed),
        apart_rows,
        config=config,
        device=device,
    )
    trained = trainer.run(folder, log, key=key, progress=progress)
    share, before, after, tried = best_share(trained.model.cpu(), apart_rows)
    facts = {
        "learned_steps": trained.best_step if share else 0,
        "held_out_identities": held_out.identities,
        "held_out_mAP_before": before,
        "held_out_mAP": after,
        "held_out_checks": trained.checks,
    }
    if share:
        progress.message(
            f"NFormer kept: held-out mAP {100 * before:.1f} without, {100 * after:.1f} with it, at "
            f"step {trained.best_step} and with share {share:g}"
        )
    else:
        progress.message(
            f"No NFormer kept: held-out mAP rose by no more than its error ({100 * before:.1f} "
            f"without, {100 * tried:.1f} with). The model is the closed form."
        )
    return (trained.model if share else None), share, facts


def affordable_steps(config: NFormerConfig, *, rows: int, dim: int) -> int:
    """Return how many steps fit into a fixed amount of arithmetic, 400 at the most."""
    a_step = 6 * 12 * config.layers * dim**2 * min(rows, config.batch)
    return min(400, int(ARITHMETIC / max(1, a_step)))


def crossed_rows(
    train: Embeddings, settings: ClosedFormSettings, *, gate: EdgeGate | None, seed: int
) -> Embeddings:
    """Return all rows refined, each half of the identities by a form fitted on the other.

    A closed form draws the identities that it was fitted on together as it never will others.
    """
    identities = numpy_generator(seed, "crossed").permutation(np.unique(train.pids))
    first = np.isin(train.pids, identities[: len(identities) // 2])
    features = np.empty_like(train.features)
    for part in (first, ~first):
        features[part] = closed_form_rows(
            train.select(~part), None, gallery=train.select(part), settings=settings, gate=gate
        )[1]
    return train.with_features(features)


def held_out_rows(
    train: Embeddings, held_out: HeldOut, *, settings: ClosedFormSettings, gate: EdgeGate | None
) -> HeldOut:
    """Return held-out identities after a closed form fitted on the others."""
    query, gallery = closed_form_rows(
        train, held_out.query, gallery=held_out.gallery, settings=settings, gate=gate
    )
    assert query is not None
    return HeldOut(held_out.query.with_features(query), held_out.gallery.with_features(gallery))


def closed_form_rows(
    fit: Embeddings,
    query: Embeddings | None,
    *,
    gallery: Embeddings,
    settings: ClosedFormSettings,
    gate: EdgeGate | None,
) -> tuple[np.ndarray | None, np.ndarray]:
    """Return queries, if any, and a gallery after a closed form fitted on other identities."""
    closed_form = fit_closed_form(
        TrainingRows.of(fit.features, fit.pids, camids=fit.camids), settings, gate=gate
    )
    model = NFormerOnClosedForm.joined(closed_form, None, share=0.0)
    if query is None:
        query = gallery.select(np.zeros(len(gallery), bool))
    refined = refine(model, query, gallery)
    return refined[0].features, refined[1].features


def best_share(model: NFormer, held_out: HeldOut) -> tuple[float, float, float, float]:
    """Return the share of the learned part that ranks best, and the mAP without and with it.

    The last value is the best mAP of any share that was tried.

    The share is 0 unless the mAP gains more than its standard error over queries.
    """
    before = score(held_out.query, held_out.gallery)
    found, tried = (0.0, before.mean_ap, before.mean_ap), 0.0
    refined = refine(model, held_out.query, held_out.gallery)
    for share in SHARES:
        pair = [
            rows.with_features(_unit(rows.features) + share * _unit(learned.features))
            for rows, learned in zip((held_out.query, held_out.gallery), refined, strict=True)
        ]
        after = score(*pair)
        gains = np.nan_to_num(after.average_precision - before.average_precision)
        error = gains.std() / max(1, before.valid_queries) ** 0.5
        tried = max(tried, after.mean_ap)
        if after.mean_ap > found[2] and after.mean_ap - before.mean_ap > max(LEAST_GAIN, error):
            found = (share, before.mean_ap, after.mean_ap)
    return *found, tried


def _unit(features: np.ndarray) -> np.ndarray:
    return functional.normalize(torch.from_numpy(features)).numpy()


def _certainty(chosen: Chosen | None) -> dict[str, Any]:
    if chosen is None:
        return {}
    gain, error = chosen.gain
    return {
        "folds": len(chosen.scores),
        "folds_mAP_before": float(chosen.baseline.mean()),
        "folds_mAP": chosen.mean_ap,
        "folds_gain": gain,
        "folds_gain_error": error,
        "inflation": chosen.inflation,
        "seen": chosen.seen,
    }
