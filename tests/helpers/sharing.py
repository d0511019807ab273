"""A training whose batches are shared by processes, with frozen batch norms: run by torchrun."""

import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from pipelines.backbones.backbone import build_backbone
from pipelines.config import BackboneConfig
from pipelines.data.augment import normalise
from pipelines.data.batches import Batch
from pipelines.processes import Processes, join, world
from pipelines.training.backbone import BackboneTrainer
from pipelines.training.losses import triplet_loss

ROWS = [[[0.0], [1.0]], [[1.5], [5.0]]]  # of each process, of one identity
PEOPLE, IMAGES, HEIGHT, WIDTH = 7, 6, 32, 16


def train(config: BackboneConfig, processes: Processes, *, left_out=()) -> BackboneTrainer:
    """Train for the config's epochs on drawn images; rows `left_out` cannot be read.

    In float64: a triplet loss chooses the hardest image, and where two are nearly as hard,
    float32's rounding, which batches of another size change, decides between them.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with patch.object(torch.Tensor, "float", torch.Tensor.double):  # the backbone's own cast
            return _train(config, processes, left_out=left_out)
    finally:
        torch.set_default_dtype(before)


def _train(config: BackboneConfig, processes: Processes, *, left_out) -> BackboneTrainer:
    drawn = torch.Generator().manual_seed(0)
    images = torch.randint(
        0, 256, (PEOPLE * IMAGES, 3, HEIGHT, WIDTH), generator=drawn, dtype=torch.uint8
    )
    labels = np.repeat(np.arange(PEOPLE), IMAGES)
    torch.manual_seed(0)
    backbone = build_backbone(config.arch, classes=PEOPLE, dim=8, last_stage="stride2").double()
    backbone.register_forward_pre_hook(lambda _, images: (images[0].double(),))
    norms = [one for one in backbone.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():  # of these images: without it, all have nearly the same embedding
        backbone(normalise(images))
    for norm in norms:
        norm.eval()
        norm.train = lambda mode=True, frozen=norm: frozen
    trainer = BackboneTrainer(
        backbone, labels, config=config, device=torch.device("cpu"), processes=processes
    )
    trainer.losses_of = []
    for epoch in range(config.epochs):
        batches = trainer.batches(epoch)
        readable = (
            np.array([row for row in trainer.own(batch) if row not in left_out], dtype=np.int64)
            for batch in batches
        )
        read = (Batch(images[torch.from_numpy(rows)], rows) for rows in readable)
        for losses in trainer.epoch(epoch, read, steps=len(batches)):
            trainer.losses_of.append(float(losses["loss"]))
    return trainer


def config_of(**changes) -> BackboneConfig:
    settings = {
        "arch": "shufflenet_v2_x0_5", "dim": 8, "height": HEIGHT, "width": WIDTH, "epochs": 2,
        "batch": 12, "instances": 4, "lr": 3e-4, "warmup_epochs": 0, "pad": 2, "erase": 0.5,
        "center_weight": 0.05, "amp": "off",
    }  # fmt: skip
    return BackboneConfig(**settings | changes)


def state_of(trainer) -> dict:
    """Return all that was trained, and the losses on the way."""
    return {
        "losses": torch.tensor(trainer.losses_of),
        **trainer.backbone.state_dict(),
        **trainer.center.state_dict(),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    shared = join(torch.device("cpu")) if world() > 1 else Processes()
    for name, settings, left_out in (
        ("all", {}, ()),
        ("process", {"triplet_over": "process"}, ()),
        ("left_out", {}, (0, 1, 2, 8)),
    ):
        trained = train(config_of(**settings), shared, left_out=left_out)
        torch.save(state_of(trained), folder / f"{name}{shared.rank}.pt")
    own = torch.tensor(ROWS[shared.rank], requires_grad=True)
    embedding = shared.whole(own, [2, 2])
    loss = triplet_loss(embedding, torch.tensor([0, 0, 1, 1]), margin=0.3)
    loss.backward()
    torch.save({"loss": float(loss), "gradient": own.grad}, folder / f"triplet{shared.rank}.pt")
    shared.leave()
