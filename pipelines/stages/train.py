"""the data set's training images -> backbone.pt, embeddings.h5, nformer.pt, trained in turn"""

from pathlib import Path
from typing import Any

import torch

from ..artifacts.embeddings import load_embeddings
from ..artifacts.manifest import Manifest
from ..artifacts.nformer import save_nformer
from ..artifacts.run import Run, writing_stage
from ..config import BackboneConfig, ExtractConfig, NFormerConfig, as_table
from ..data.catalogue import open_dataset
from ..data.samples import Dataset
from ..device import choose_device
from ..embeddings import Embeddings
from ..errors import PipelineError
from ..flow import command_line
from ..processes import rank
from ..progress import Progress, Silent
from ..training.log import LogFiles
from ..training.nformer import Trained, Trainer
from .early import in_turn, wants_tensorboard
from .extract import extract
from .train_backbone import LOG, trained_on

STAGE, ARTIFACT = "train", "nformer.pt"


@writing_stage
def train(
    run: Run,
    dataset: str | Dataset,
    *,
    root: str | Path,
    backbone: BackboneConfig,
    nformer: NFormerConfig,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = Silent(),
    options: dict[str, Any] | None = None,
    log: str = "",
) -> Path:
    """Train backbone and NFormer in turn, epoch by epoch (paper, section 4.2); return nformer.pt.

    In NFormer's epochs the backbone is frozen: it embeds all training images, and NFormer makes as
    many updates as there are batches of them. Gradients never pass from one to the other, so
    backbone.pt has the weights that `train_backbone` gives; NFormer sees the embeddings of every
    epoch. NFormer's schedule is the backbone's in epochs. An interrupted training goes on.

    Raises:
        BadInput: an NFormer on a closed form, which needs the finished embeddings.
    """
    data = open_dataset(dataset, root, options=options, progress=progress)
    config = in_turn(nformer, backbone, images=len(data.split("train")))
    files = LogFiles(run.path(LOG), wants_tensorboard(log))
    turn = NFormerInTurn(
        run, config, epochs=backbone.epochs, device=choose_device(device), log=files
    )
    common: dict[str, Any] = {"device": device, "overwrite": overwrite, "progress": progress}
    trained_on(run, data, config=backbone, in_turn=turn, log=log, **common)
    extract(run, config=ExtractConfig(on_bad_image=backbone.on_bad_image), dataset=data, **common)
    if rank() > 0:  # NFormer is one process's work
        return run.path(ARTIFACT)
    wanted = Manifest(
        ARTIFACT, STAGE, as_table(config), {"embeddings.h5": run.digest("embeddings.h5")}
    )
    if run.is_current(wanted, overwrite=overwrite, purpose=turn.key):
        progress.message(run.up_to_date(ARTIFACT))
        return run.path(ARTIFACT)
    trained = turn.finished(load_embeddings(run.artifact("embeddings.h5"), "train"))
    kept = run.facts("embeddings.h5")
    with run.writing(wanted) as (path, facts):
        facts.update({key: kept[key] for key in ("dataset", "root") if key in kept})
        facts.update(kind=trained.model.kind, best_step=trained.best_step, epochs=backbone.epochs)
        save_nformer(path, trained.model, **facts)
    run.clear_scratch(ARTIFACT)
    return run.path(ARTIFACT)


class NFormerInTurn:
    """NFormer's epochs between the backbone's, each kept before the backbone goes on."""

    stage, key = STAGE, ""

    def __init__(
        self, run: Run, config: NFormerConfig, *, epochs: int, device: torch.device, log: LogFiles
    ) -> None:
        self.run, self.config, self.device, self.log = run, config, device, log
        self.each = config.steps // epochs
        self.settings = {"nformer": as_table(config)}

    def after_epoch(self, epochs: int, train: Embeddings) -> None:
        """Train NFormer's epoch on what the backbone makes of the images, if not done before."""
        self._trained(train, until=epochs * self.each)

    def finished(self, train: Embeddings) -> Trained:
        """Return the NFormer whose every epoch was trained.

        Raises:
            PipelineError: its state is gone, and with it the backbones that it was trained on.
        """
        trained = self._trained(train, until=0)
        if trained.best_step < self.config.steps:
            again = command_line(STAGE, "DATASET", "--overwrite", run=self.run.folder)
            raise PipelineError(
                f"{self.run.path('backbone.pt')} is finished, but NFormer's state after epoch "
                f"{trained.best_step // self.each} is all that is left of its training in turn; "
                f"train both again with: {again}"
            )
        return trained

    def _trained(self, train: Embeddings, *, until: int) -> Trained:
        trainer = Trainer(train.without_junk(), None, config=self.config, device=self.device)
        return trainer.run(
            self.run.scratch(ARTIFACT), self.log, key=self.key, progress=Silent(), until=until
        )
