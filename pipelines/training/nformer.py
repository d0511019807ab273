"""The training loop of NFormer: steps, held-out checks, and a checkpoint to go on from."""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..artifacts.unfinished import note_progress
from ..config import NFormerConfig
from ..embeddings import Embeddings
from ..nformer.model import NFormer
from ..progress import Progress
from ..seeding import derived_seed, torch_generator
from .embedding_batches import Batches
from .held_out import HeldOut
from .log import LogFiles, TrainLog, require_finite
from .losses import CenterLoss, identity_loss, triplet_loss
from .precision import choose_precision
from .schedule import learning_rate_factor, make_optimizer, set_learning_rate
from .state import load_state, save_state

STAGE = "train-nformer"
LOG_EVERY = 5  # steps whose losses are read from the device together


@dataclass
class Trained:
    """A finished training: the model at its best step, and what the checks said."""

    model: NFormer
    best_step: int
    best: float | None  # held-out mAP at the best step; None without a check
    checks: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """One training of NFormer on embeddings, resumable at every check.

    Everything random is drawn from the seed and the step's number, so a training that was
    interrupted and goes on ends with the same bits on a CPU as one that was not.
    """

    def __init__(
        self,
        train: Embeddings,
        held_out: HeldOut | None,
        *,
        config: NFormerConfig,
        device: torch.device,
    ) -> None:
        self.config, self.held_out, self.device = config, held_out, device
        labels, classes = contiguous_labels(train)
        self.batches = Batches(
            torch.from_numpy(train.features).to(device),
            labels.to(device),
            sampler=config.sampler,
            batch=config.batch,
            instances=config.instances,
            seed=config.seed,
        )
        self.model = make_model(config, dim=train.dim, classes=classes).to(device)
        self.half = choose_precision(config.amp, device) == "bf16"
        self.center = CenterLoss(
            classes, train.dim, generator=torch_generator(config.seed, "centers")
        ).to(device)
        self.best = copy.deepcopy(self.model)
        self.optimizer = make_optimizer(
            config.optimizer,
            (part for part in self.model.parameters() if part.requires_grad),
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        self.center_optimizer = torch.optim.SGD(self.center.parameters(), lr=config.center_lr)
        self.step_done, self.best_step, self.best_map = 0, 0, -1.0
        self.checks: list[dict[str, float]] = []

    def run(
        self,
        folder: Path,
        log: Path | LogFiles,
        *,
        key: str,
        progress: Progress,
        until: int | None = None,
    ) -> Trained:
        """Train to the last step, going on from the checkpoint in `folder` if it is `key`'s.

        until: the step to stop after, for now.
        """
        last = self.config.steps if until is None else until
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            checkpoint = folder / "state.pt"
            if self._resume(checkpoint, key):
                progress.message(f"going on from step {self.step_done}")
            elif self.held_out is not None:
                self._check()
            with (
                TrainLog(log, STAGE, after=self.step_done) as lines,
                progress.task("train NFormer", self.config.steps, unit="steps") as task,
            ):
                task.skip(self.step_done)
                while self.step_done < last:
                    self._stretch(lines, task, last=last)
                    self._save(checkpoint, key)
                    note_progress(
                        folder, self.step_done, of=self.config.steps, unit="step", purpose=key
                    )
        return self._finished()

    def _stretch(self, lines: TrainLog, task: Any, *, last: int) -> None:
        """Train up to the next check, check, and remember the best weights."""
        every = self.config.eval_every or self.config.steps
        stop = min(last, (self.step_done // every + 1) * every)
        while self.step_done < stop:
            pending: list[dict[str, Tensor]] = []
            while self.step_done < stop and len(pending) < LOG_EVERY:
                pending.append(self.step())
                self.step_done += 1
            self._log(lines, pending)
            task.advance(len(pending), loss=float(pending[-1]["loss"]), **self._latest())
        if self.held_out is not None:
            lines.write(self.step_done, held_out_mAP=self._check())

    def step(self) -> dict[str, Tensor]:
        """Make one update; returns its losses, still on the device."""
        number = self.step_done
        rate = self._rate(number)
        set_learning_rate(self.optimizer, rate)
        features, labels = self.batches.at(number)
        torch.manual_seed(derived_seed(self.config.seed, "dropout", number))
        self.model.train()
        self.model.multiply_in_bfloat16(self.half)
        logits, refined = self.model(
            features, generator=torch_generator(self.config.seed, "landmarks", number)
        )
        losses = self._losses(logits, refined, labels=labels)
        self.optimizer.zero_grad()
        self.center_optimizer.zero_grad()
        losses["loss"].backward()
        self.center.unweighted_gradient(self.config.center_weight)
        if self.config.clip > 0:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        self.center_optimizer.step()
        return {name: value.detach() for name, value in losses.items()}

    def _losses(self, logits: Tensor, refined: Tensor, *, labels: Tensor) -> dict[str, Tensor]:
        config = self.config
        parts = {"identity": identity_loss(logits, labels, smoothing=config.label_smoothing)}
        total = parts["identity"]
        if config.triplet_weight > 0:
            parts["triplet"] = triplet_loss(refined, labels, margin=config.triplet_margin)
            total = total + config.triplet_weight * parts["triplet"]
        if config.center_weight > 0:
            parts["center"] = self.center(refined, labels)
            total = total + config.center_weight * parts["center"]
        return {"loss": total, **parts}

    def _rate(self, step: int) -> float:
        config = self.config
        return config.lr * learning_rate_factor(
            step,
            schedule=config.schedule,
            total=config.steps,
            milestones=config.milestones,
            gamma=config.gamma,
            warmup=config.warmup_steps,
            warmup_factor=config.warmup_factor,
        )

    def _log(self, lines: TrainLog, pending: list[dict[str, Tensor]]) -> None:
        first = self.step_done - len(pending)
        for number, losses in enumerate(pending):
            require_finite(losses["loss"], first + number + 1)
            figures = {name: float(value) for name, value in losses.items()}
            lines.write(first + number + 1, lr=self._rate(first + number), **figures)

    def _check(self) -> float:
        """Measure the held-out mAP, and keep the weights where it is the best so far."""
        assert self.held_out is not None
        self.model.multiply_in_bfloat16(False)
        found = self.held_out.refined(
            self.model, landmarks=self.config.landmark_choice, seed=self.config.seed
        )
        self.checks.append({"step": self.step_done, "mAP": found})
        if found > self.best_map:
            self.best_step, self.best_map = self.step_done, found
            self.best.load_state_dict(self.model.state_dict())
        return found

    def _latest(self) -> dict[str, float]:
        return {"held_out_mAP": self.checks[-1]["mAP"]} if self.checks else {}

    def _finished(self) -> Trained:
        self.model.multiply_in_bfloat16(False)
        if self.held_out is None:
            return Trained(self.model.eval(), self.step_done, None)
        return Trained(self.best.eval(), self.best_step, self.best_map, self.checks)

    def _save(self, path: Path, key: str) -> None:
        counters = {
            "step": self.step_done,
            "best_step": self.best_step,
            "best_map": self.best_map,
            "checks": self.checks,
        }
        save_state(path, key=key, counters=counters, **self._stateful())

    def _resume(self, path: Path, key: str) -> bool:
        counters = load_state(path, key=key, **self._stateful())
        if counters is None:
            return False
        self.step_done, self.checks = counters["step"], counters["checks"]
        self.best_step, self.best_map = counters["best_step"], counters["best_map"]
        return True

    def _stateful(self) -> dict[str, Any]:
        return {
            "modules": {"model": self.model, "best": self.best, "center": self.center},
            "optimizers": {"model": self.optimizer, "center": self.center_optimizer},
        }


def make_model(config: NFormerConfig, *, dim: int, classes: int) -> NFormer:
    """Return an untrained model as the config says, its weights drawn from the config's seed."""
    model = NFormer(
        dim=dim,
        classes=classes,
        layers=config.layers,
        heads=config.heads,
        neighbours=config.neighbours,
        landmarks=config.landmarks,
        dropout=config.dropout,
        graph=config.graph,
        mask=config.mask,
        affinity=config.affinity,
    )
    model.reset(torch_generator(config.seed, "nformer"))
    return model


def contiguous_labels(train: Embeddings) -> tuple[Tensor, int]:
    """Return the identities numbered from 0 in sorted order, [N] int64, and how many they are."""
    identities, labels = np.unique(train.pids, return_inverse=True)
    return torch.from_numpy(labels.astype(np.int64)), len(identities)
