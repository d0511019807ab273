"""Train the image encoder: one step, one epoch, and the state to resume from."""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD, Optimizer

from ..backbones.abdnet import ABDNet
from ..backbones.backbone import Backbone, BackboneOutput
from ..config import BackboneConfig
from ..data.augment import Draws, augment
from ..data.batches import Batch
from ..data.sampler import identity_batches
from ..errors import BadInput, PipelineError
from ..processes import FAILED, Processes, meeting
from ..seeding import numpy_generator, torch_generator
from .losses import CenterLoss, identity_loss, triplet_loss
from .precision import autocast, channels_last, choose_precision
from .schedule import learning_rate_factor, make_optimizer, set_learning_rate

LOSSES = ("loss", "identity", "triplet", "center")


class BackboneTrainer:
    """A backbone with its losses and optimisers. `step` makes one update.

    backbone:  changed in place.   labels: [N] int64, the class of each training image.
    processes: those that share each batch. Each embeds its identities' images; the losses are
               those of the whole batch, and every process makes the same update. Batch norms see
               a process's own images on CPUs, where there is no other kind.
    evenly:    see `identity_batches`.

    Raises:
        BadInput: a batch has fewer identities than there are processes.
    """

    def __init__(
        self,
        backbone: Backbone,
        labels: np.ndarray,
        *,
        config: BackboneConfig,
        device: torch.device,
        processes: Processes = Processes(),
        evenly: bool = False,
    ) -> None:
        self.config, self.device, self.processes = config, device, processes
        self.evenly = evenly
        people = config.batch // config.instances
        if people < processes.world:
            raise BadInput(
                f"batches of {config.batch} images have {people} identities, fewer than the "
                f"{processes.world} processes; use --batch {processes.world * config.instances} or "
                "more, or fewer processes"
            )
        if processes.world > 1 and device.type == "cuda":
            backbone = cast(Backbone, nn.SyncBatchNorm.convert_sync_batchnorm(backbone))
        self.labels = torch.from_numpy(labels)
        self.precision = choose_precision(
            config.amp, device, network=backbone, image_width=config.width
        )
        self.backbone = channels_last(backbone, device)
        self.network: nn.Module = self.backbone
        if processes.world > 1:
            own = [device] if device.type == "cuda" else None
            self.network = DistributedDataParallel(
                self.backbone, device_ids=own, gradient_as_bucket_view=True
            )
        if config.compile:
            self.network = torch.compile(self.network)  # type: ignore[assignment]
        generator = torch_generator(config.seed, "centers")
        classes = int(labels.max()) + 1
        self.center = CenterLoss(classes, config.dim, generator=generator).to(device)
        self.optimizer = make_optimizer(
            config.optimizer,
            (parameter for parameter in backbone.parameters() if parameter.requires_grad),
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            fused=device.type == "cpu" or None,
        )
        self.center_optimizer = SGD(self.center.parameters(), lr=config.center_lr)
        self.scaler = GradScaler(device.type, enabled=self.precision == "fp16")

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return an epoch's batches of rows: they depend on the seed and the epoch alone."""
        generator = numpy_generator(self.config.seed, "batches", epoch)
        return identity_batches(
            self.labels.numpy(),
            batch=self.config.batch,
            instances=self.config.instances,
            generator=generator,
            evenly=self.evenly,
        )

    def own(self, batch: np.ndarray) -> np.ndarray:
        """Return this process's rows of a batch: those of whole identities."""
        people = batch.reshape(-1, self.config.instances)
        return people[self.processes.part(len(people))].ravel()

    def epoch(
        self, epoch: int, batches: Iterator[Batch], *, steps: int
    ) -> Iterator[dict[str, Any]]:
        """Make one update for each batch; yield its losses (tensors, on the device) and rate.

        batches: of this process's own rows.
        Batches of a single image, all that bad images may leave, are passed over.
        """
        config = self.config
        generator = torch_generator(config.seed, "augment", epoch)
        self.network.train()
        for number, (batch, counts) in enumerate(self._counted(batches)):
            if min(counts) < 2:
                continue  # batch norm needs two
            before = sum(counts[: self.processes.rank])
            images = augment(
                batch.images.to(self.device, non_blocking=True),
                flip=config.flip,
                pad=config.pad,
                erase=config.erase,
                draws=Draws(generator, sum(counts), before),
            )
            lr = self.learning_rate(epoch, number / steps)
            labels = self.labels[torch.from_numpy(batch.rows)]
            yield {**self.step(images, labels, lr=lr, counts=counts), "lr": lr}

    def _counted(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, list[int]]]:
        """Yield each batch with the number of images that each process has of it."""
        while True:
            try:
                batch = next(batches, None)
            except PipelineError:
                self.processes.counts(FAILED)
                raise
            if batch is None:
                return
            yield batch, self.processes.counts(len(batch.rows))

    def learning_rate(self, epoch: int, fraction: float) -> float:
        """Return the rate at a fraction of an epoch; multistep changes from epoch to epoch only."""
        config = self.config
        return config.lr * learning_rate_factor(
            epoch if config.schedule == "multistep" else epoch + fraction,
            schedule=config.schedule,
            total=config.epochs,
            milestones=config.milestones,
            gamma=config.gamma,
            warmup=config.warmup_epochs,
            warmup_factor=config.warmup_factor,
        )

    def step(
        self, images: Tensor, labels: Tensor, *, lr: float, counts: list[int] | None = None
    ) -> dict[str, Tensor]:
        """Make one update from [B, 3, H, W] normalised images and [B] labels; return the losses.

        counts: how many images each process has of the batch; None: this one has all.
        """
        set_learning_rate(self.optimizer, lr)
        labels = labels.to(self.device, non_blocking=True)
        with autocast(self.device, self.precision):
            output = self.network(images)
        losses = self.losses(output, labels, counts=counts or [len(images)])
        self.optimizer.zero_grad(set_to_none=True)
        self.center_optimizer.zero_grad(set_to_none=True)
        with meeting():
            # The processes' gradients are averaged, and each process's is of its own images alone.
            self.scaler.scale(losses["loss"] * self.processes.world).backward()
        self._update()
        return {name: loss.detach() for name, loss in losses.items()}

    def losses(
        self, output: BackboneOutput, labels: Tensor, *, counts: list[int]
    ) -> dict[str, Tensor]:
        """Return the weighted sum and its three parts, unweighted; ABD-Net adds its diversity.

        All are those of the whole batch, of which this process has its part.
        """
        config, whole = self.config, self.processes.whole
        classes = whole(labels, counts)
        embedding = whole(output.embedding, counts)
        identity = identity_loss(
            whole(output.logits, counts), classes, smoothing=config.label_smoothing
        )
        if config.triplet_over == "process":
            own = triplet_loss(output.embedding, labels, margin=config.triplet_margin)
            triplet = whole(own[None], [1] * len(counts)).mean()
        else:
            triplet = triplet_loss(embedding, classes, margin=config.triplet_margin)
        center = self.center(embedding, classes)
        total = identity + config.triplet_weight * triplet + config.center_weight * center
        body = self.backbone.body
        if isinstance(body, ABDNet):
            own = body.diversity() * (len(labels) / len(classes))
            total = total + whole(own[None], [1] * len(counts)).sum()
        return dict(zip(LOSSES, (total, identity, triplet, center), strict=True))

    def _update(self) -> None:
        centers_move = self.config.center_weight > 0
        self.scaler.unscale_(self.optimizer)
        if self.config.clip > 0:
            nn.utils.clip_grad_norm_(self.backbone.parameters(), self.config.clip)
        self.scaler.step(self.optimizer)
        if centers_move:
            self.scaler.unscale_(self.center_optimizer)
            self.center.unweighted_gradient(self.config.center_weight * self.processes.world)
            self.scaler.step(self.center_optimizer)
        self.scaler.update()

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What `training.state` keeps of the networks."""
        return {"backbone": self.backbone, "center": self.center}

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        """What `training.state` keeps of the optimisers."""
        return {"backbone": self.optimizer, "center": self.center_optimizer}
