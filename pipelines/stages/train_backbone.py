"""the data set's training images -> backbone.pt"""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ..artifacts.backbone import save_backbone
from ..artifacts.manifest import Manifest
from ..artifacts.run import SCRATCH, Run, writing_stage
from ..artifacts.unfinished import note_progress, purpose_of, require_unfinished
from ..backbones.backbone import build_backbone, require_image_size
from ..backbones.embedder import Embedder
from ..config import BackboneConfig, as_table
from ..data.batches import BatchLoader
from ..data.catalogue import open_dataset, rules_of
from ..data.sampler import fitting_batch
from ..data.samples import Dataset, contiguous_labels, labelled
from ..data.several import SETS
from ..device import choose_device
from ..embeddings import Embeddings
from ..extraction.chunks import embed_rows
from ..extraction.networks import Network
from ..extraction.sources import dataset_facts, image_sources, naming_check_of, skipped_text, tell
from ..extraction.tracklets import track_means
from ..files import text_digest
from ..preprocessing import Preprocessing
from ..processes import Processes, join, rank, world
from ..progress import Progress, Silent, Task
from ..seeding import derived_seed
from ..training.backbone import LOSSES, BackboneTrainer
from ..training.delayed import one_behind
from ..training.duration import Estimate
from ..training.initial_weights import start_from, weights_digest
from ..training.log import LogFiles, TrainLog, require_finite
from ..training.precision import DTYPES
from ..training.state import load_state, save_state
from .early import wants_tensorboard

ARTIFACT = "backbone.pt"
STAGE = "train-backbone"
LOG = "train.jsonl"
EXECUTION_ONLY = ("workers", "eval_every")  # settings that change no result


@writing_stage
def train_backbone(
    run: Run,
    dataset: str | Dataset,
    *,
    root: str | Path,
    config: BackboneConfig = BackboneConfig(),
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = Silent(),
    options: dict[str, Any] | None = None,
    log: str = "",
) -> Path:
    """Train an image encoder on a data set's training split; return the path of backbone.pt.

    dataset: its name, or what `open_dataset` has read, whose root and options it then has.
    options: of the data set's reader, such as `combine_all` for MSMT17.
    log: "tensorboard": beside train.jsonl, files for TensorBoard too.
    An interrupted training goes on by itself from its last whole epoch.
    """
    data = open_dataset(dataset, root, options=options, progress=progress)
    return trained_on(
        run, data, config=config, device=device, overwrite=overwrite, progress=progress, log=log
    )


def trained_on(
    run: Run,
    data: Dataset,
    *,
    config: BackboneConfig,
    device: str,
    overwrite: bool,
    progress: Progress,
    log: str,
    in_turn: "InTurn | None" = None,
) -> Path:
    """Train on an open data set; `in_turn` trains something else after every epoch."""
    if world() > 1 and rank() == 0:
        run.claim()  # where another writer is waited for, the stage starts again: not once joined
    processes = join(choose_device(device)) if world() > 1 else Processes()
    try:
        with naming_check_of(data):
            return _trained_by(
                run,
                data,
                processes=processes,
                config=config,
                device=device,
                overwrite=overwrite,
                progress=progress,
                log=log,
                in_turn=in_turn,
            )
    finally:
        processes.leave()


def _trained_by(
    run: Run,
    data: Dataset,
    *,
    processes: Processes,
    config: BackboneConfig,
    device: str,
    overwrite: bool,
    progress: Progress,
    log: str,
    in_turn: "InTurn | None",
) -> Path:
    train = data.images("train")
    labels, pids = contiguous_labels([sample.pid for sample in train])
    if len(pids) < 2:
        _introduce(data, progress)  # what its folders and columns were taken for
    cut = fitting_batch(
        len(pids),
        batch=config.batch,
        instances=config.instances,
        where=f"the train split of {data.name} ({data.place})",
    )
    asked, config = config.batch, replace(config, batch=cut)
    wanted = Manifest(
        ARTIFACT,
        in_turn.stage if in_turn else STAGE,
        _settings(config) | (in_turn.settings if in_turn else {}),
        {"training images": data.digest("train"), **weights_digest(config.weights)},
        facts={**dataset_facts(data), "classes": len(pids)},
    )
    key = text_digest(wanted.to_json())
    if in_turn is not None:
        in_turn.key = key
    processes.require_same(key, what="training: data set, settings or weights differ")
    if processes.agreed(lambda: run.is_current(wanted, overwrite=overwrite)):
        progress.message(run.up_to_date(ARTIFACT))
        return run.path(ARTIFACT)
    purpose = purpose_of(wanted)
    require_unfinished(run.path(SCRATCH) / ARTIFACT, purpose=purpose, overwrite=overwrite)
    _introduce(data, progress)
    if cut != asked:
        progress.message(
            f"batches of {cut} images instead of {asked}: {config.instances} of each identity, of "
            f"which the train split has {len(pids)}"
        )
    chosen = choose_device(device)
    torch.manual_seed(derived_seed(config.seed, STAGE))
    backbone = build_backbone(
        config.arch,
        classes=len(pids),
        dim=config.dim,
        last_stage=config.last_stage,
        size=(config.height, config.width),
    )
    require_image_size(backbone, config.arch, height=config.height, width=config.width)
    loaded = start_from(backbone, config.weights, arch=config.arch)
    if loaded is not None:
        progress.message(f"weights {config.weights}: {loaded}")
    trainer = BackboneTrainer(
        backbone,
        labels,
        config=config,
        device=chosen,
        processes=processes,
        evenly=SETS in data.options,
    )
    if processes.world > 1:
        kind = "its own images" if chosen.type == "cpu" else "the images of all"
        progress.message(
            f"{processes.world} processes share each batch of {config.batch} images; the batch "
            f"norms of each see {kind}"
        )
    training = Training(run, data, trainer=trainer, config=config, progress=progress)
    training.log = LogFiles(run.path(LOG), wants_tensorboard(log))
    training.in_turn = in_turn
    training.run_epochs(key=key, purpose=purpose)
    if processes.is_first:
        with run.writing(wanted) as (temporary, facts):
            save_backbone(temporary, backbone, facts=backbone_facts(config, classes=len(pids)))
            facts.update(training.facts(), device=str(chosen), precision=trainer.precision)
            if processes.world > 1:
                facts["processes"] = processes.world
        run.clear_scratch(ARTIFACT)
    processes.wait()  # until the file is there
    return run.path(ARTIFACT)


def _introduce(data: Dataset, progress: Progress) -> None:
    """Show a data set's counts, and what was noticed while it was read."""
    for line in data.table().splitlines():
        progress.message(line)
    tell(data, progress)


def _settings(config: BackboneConfig) -> dict[str, Any]:
    """Return the settings that a backbone.pt depends on."""
    kept = {key: value for key, value in as_table(config).items() if key not in EXECUTION_ONLY}
    if config.triplet_over == "all":
        del kept["triplet_over"]  # as before there was a choice
    return kept


class InTurn(Protocol):
    """What is trained after each of the backbone's epochs, on what it then makes of the images.

    stage: of the manifest.   settings: of it, beside the backbone's.
    key:   what the backbone's training is, set before it begins: what was trained after other
           epochs than these is not gone on with.
    """

    stage: str
    settings: dict[str, Any]
    key: str

    def after_epoch(self, epochs: int, train: Embeddings) -> None:
        """Train on the training images' embeddings after so many epochs, if not done before."""


class Training:
    """The epochs of one training: its images, log, progress and resumable state."""

    def __init__(
        self,
        run: Run,
        data: Dataset,
        *,
        trainer: BackboneTrainer,
        config: BackboneConfig,
        progress: Progress,
    ) -> None:
        self.run, self.data, self.trainer = run, data, trainer
        self.config, self.progress, self.processes = config, progress, trainer.processes
        self.log = LogFiles(run.path(LOG))
        self.in_turn: InTurn | None = None
        self.preprocessing = Preprocessing(height=config.height, width=config.width)
        self.sources = image_sources(run, data, preprocessing=self.preprocessing, progress=progress)
        self.loader = self._loader("train", config.on_bad_image)
        self.steps = 0  # updates made so far
        self.seconds = 0.0

    def run_epochs(self, *, key: str, purpose: str) -> None:
        """Train from the last whole epoch of a training with this `key`, or from the first."""
        state = self.run.scratch(ARTIFACT) / "state.pt"
        parts: dict[str, Any] = {
            "modules": self.trainer.modules,
            "optimizers": self.trainer.optimizers,
        }
        counters = load_state(state, key=key, **parts) or {"epoch": 0, "step": 0}
        first, self.steps = counters["epoch"], counters["step"]
        self.processes.require_same(first, what=f"{state.parent}")
        if first:
            self.trainer.scaler.load_state_dict(counters["scaler"])
            self.loader.skipped.update(counters["skipped"])
            self.progress.message(f"going on after epoch {first} of {self.config.epochs}")
            self._tell_processes(counters.get("processes", 1))
            self._other_turn(first)
        planned = len(self.trainer.batches(0))
        with (
            self._log() as log,
            self.progress.task(
                "train backbone", self.config.epochs * planned * self.config.batch, unit="images"
            ) as task,
        ):
            task.skip(first * planned * self.config.batch)
            left = (self.config.epochs - first) * planned
            self.estimate = Estimate(left, on_cpu=self.trainer.device.type == "cpu")
            for epoch in range(first, self.config.epochs):
                self._epoch(epoch, log, task=task, planned=planned)
                self.loader.skipped.update(self.processes.merged(self.loader.skipped))
                if self.processes.is_first:
                    save_state(state, key=key, counters=self._counters(epoch + 1), **parts)
                    note_progress(
                        state.parent,
                        epoch + 1,
                        of=self.config.epochs,
                        unit="epoch",
                        purpose=purpose,
                    )
                self._other_turn(epoch + 1)

    def _log(self) -> AbstractContextManager[TrainLog | None]:
        """Return the log of the process that writes one, None for the others."""
        if self.processes.is_first:
            return TrainLog(self.log, STAGE, after=self.steps)
        return nullcontext()

    def _tell_processes(self, before: int) -> None:
        if before != self.processes.world:
            self.progress.warn(
                f"number of processes: {before} in the epochs so far, {self.processes.world} from "
                "here on. With batch norms that see a process's own images, the weights are not "
                "those of a training by as many throughout"
            )

    def _other_turn(self, epochs: int) -> None:
        if self.in_turn is not None and self.processes.is_first:
            self.in_turn.after_epoch(epochs, self._embed("train"))

    def _counters(self, epochs: int) -> dict[str, Any]:
        return {
            "epoch": epochs,
            "step": self.steps,
            "scaler": self.trainer.scaler.state_dict(),
            "skipped": self.loader.skipped,
            **({"processes": self.processes.world} if self.processes.world > 1 else {}),
        }

    def _epoch(self, epoch: int, log: TrainLog | None, *, task: Task, planned: int) -> None:
        if self.processes.world > 1:  # what a process draws besides is its own, and drawn again
            torch.manual_seed(derived_seed(self.config.seed, STAGE, epoch, self.processes.rank))
        batches = self.trainer.batches(epoch)
        read = self.loader.iterate(map(self.trainer.own, batches), every=True)
        updates = self.trainer.epoch(epoch, read, steps=len(batches))
        start, counted = time.perf_counter(), 0
        for losses in one_behind(updates):
            self.steps += 1
            figures = {name: require_finite(losses[name], self.steps) for name in LOSSES}
            if log is not None:
                log.write(self.steps, epoch=epoch + 1, **figures, lr=losses["lr"])
            step = int(counted < planned)  # epochs differ by a few steps: count as planned
            counted += step
            shown = f"{epoch + 1}/{self.config.epochs}"
            task.advance(step * self.config.batch, epoch=shown, loss=figures["loss"])
            self._tell_duration()
        task.advance((planned - counted) * self.config.batch)
        self.seconds += time.perf_counter() - start
        if self.config.eval_every and (epoch + 1) % self.config.eval_every == 0 and log is not None:
            self._evaluate(epoch + 1, log)

    def _tell_duration(self) -> None:
        found = self.estimate.after()
        if found is not None:
            said, is_long = found
            (self.progress.warn if is_long else self.progress.message)(said)

    def _evaluate(self, epoch: int, log: TrainLog) -> None:
        from ..ranking.metrics import score

        query, gallery = (self._embed(split) for split in ("query", "gallery"))
        rules = self.data.rules or rules_of(self.data.name)
        metrics = score(query, gallery, rules=rules)
        log.write(self.steps, epoch=epoch, mAP=metrics.mean_ap, rank1=float(metrics.cmc[0]))
        self.progress.message(
            f"epoch {epoch}: mAP {100 * metrics.mean_ap:.1f}, rank-1 {100 * metrics.rank(1):.1f}"
        )

    def _embed(self, split: str) -> Embeddings:
        samples = self.data.split(split)
        device, precision = self.trainer.device, self.trainer.precision
        embedder = Embedder(self.trainer.backbone, device=device, dtype=DTYPES[precision])
        network = Network(embedder, self.preprocessing, precision, device)
        loader = self._loader(split, "skip")
        count = len(loader.source.names)
        found = list(embed_rows(network, loader, rows=range(count), size=self.config.batch))
        rows, features = (
            track_means(self.data, split, parts=found)
            if self.data.tracks
            else (np.concatenate(parts) for parts in zip(*found, strict=True))
        )
        labels = labelled([samples[row] for row in rows], self.data.columns)
        return Embeddings(features, labels.pids, labels.camids, labels.names, labels.columns)

    def _loader(self, split: str, policy: Any) -> BatchLoader:
        source = self.sources([sample.name for sample in self.data.images(split)])
        pin = self.trainer.device.type == "cuda"
        return BatchLoader(source, workers=self.config.workers, on_bad_image=policy, pin=pin)

    def facts(self) -> dict[str, Any]:
        """Return what the manifest tells beside the artifact's identity."""
        skipped = dict(sorted(self.loader.skipped.items()))
        if skipped:
            self.progress.warn(skipped_text(skipped))
        return {"skipped": skipped, "steps": self.steps, "seconds": round(self.seconds, 3)}


def backbone_facts(config: BackboneConfig, *, classes: int) -> dict[str, Any]:
    """Return what `load_backbone` builds the network from."""
    return {
        "arch": config.arch,
        "last_stage": config.last_stage,
        "dim": config.dim,
        "classes": classes,
        "height": config.height,
        "width": config.width,
    }
