"""embeddings.h5 -> nformer.pt"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifacts.embeddings import (
    load_embeddings,
    open_embeddings,
    saw_training_identities,
    splits_in,
)
from ..artifacts.manifest import Manifest
from ..artifacts.nformer import save_nformer
from ..artifacts.run import Run, writing_stage
from ..artifacts.unfinished import require_unfinished
from ..config import NFormerConfig, as_table
from ..device import choose_device
from ..files import text_digest
from ..flow import command_line
from ..progress import Progress, Silent
from ..training.fit import fit_nformer
from ..training.log import LogFiles
from .early import wants_tensorboard

if TYPE_CHECKING:
    from ..nformer.model import NFormer

ARTIFACT = "nformer.pt"


@writing_stage
def train_nformer(
    run: Run,
    *,
    config: NFormerConfig = NFormerConfig(),
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = Silent(),
    log: str = "",
    seen: bool | None = None,
) -> Path:
    """Train NFormer on the train split's embeddings and keep the best step.

    A seeded share of the identities is held out; what refinement does to their mAP decides which
    step is kept, and whether training helped at all is said.

    log:  "tensorboard": beside train.jsonl, files for TensorBoard too.
    seen: whether the network of the embeddings was trained on these identities; None: as the run
          has it.

    Raises:
        MissingArtifact, StaleArtifact: embeddings.h5, with the command for it.
        BadInput: no train split, no labels, fewer than two identities.
        PipelineError: the loss is not finite; names the step.
    """
    inputs = {"embeddings.h5": run.digest("embeddings.h5")}
    wanted = Manifest(ARTIFACT, "train-nformer", as_table(config), inputs)
    if run.is_current(wanted, overwrite=overwrite):
        progress.message(run.up_to_date(ARTIFACT))
        return run.path(ARTIFACT)
    key = text_digest(wanted.to_json())
    folder = run.scratch(ARTIFACT)
    require_unfinished(folder, purpose=key, overwrite=overwrite)
    kept = run.facts("embeddings.h5")
    model, found = fit_nformer(
        load_embeddings(run.artifact("embeddings.h5"), "train"),
        config,
        device=choose_device(device),
        folder=folder,
        log=LogFiles(run.path("train.jsonl"), wants_tensorboard(log)),
        key=key,
        progress=progress,
        seen=saw_training_identities(run) if seen is None else seen,
        remedy="give pids to the import, or import a trained model with: "
        + command_line("import-nformer", "FILE", run=run.folder),
    )
    found |= {"kind": model.kind, **_domain(run, model, progress=progress)}
    with run.writing(wanted) as (path, facts):
        facts.update({key: kept[key] for key in ("dataset", "root") if key in kept}, **found)
        save_nformer(path, model, **facts)
    run.clear_scratch(ARTIFACT)
    return run.path(ARTIFACT)


def _domain(run: Run, model: "NFormer", *, progress: Progress) -> dict[str, Any]:
    """Return whether the run's gallery looks like its training set; warn where it does not."""
    from ..gallery.refinement import prepare
    from ..nformer.on_closed_form import NFormerOnClosedForm
    from ..refiners.closed_form import camera_ids

    path = run.artifact("embeddings.h5")
    with open_embeddings(path) as file:
        if "gallery" not in splits_in(file) or not isinstance(model, NFormerOnClosedForm):
            return {}
    gallery = load_embeddings(path, "gallery")
    rows = prepare(model, gallery.features, what="gallery embeddings")
    camids = camera_ids(gallery.camids, len(gallery), device=model.device)
    domain = model.closed_form.domain(rows, camids)
    (progress.warn if domain.foreign else progress.message)(str(domain))
    return {"domain": domain.as_table(), "domain_shift": domain.short}
