"""embeddings.h5 -> runs with fewer gallery images of an identity (the paper's Table 3)"""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..artifacts.embeddings import (
    labels_in,
    load_embeddings,
    open_embeddings,
    save_embeddings,
    splits_in,
)
from ..artifacts.manifest import Manifest
from ..artifacts.run import Run, writing_stage
from ..data.subsampling import drawn_on_average
from ..embeddings import Embeddings
from ..errors import BadInput
from ..labels import distractors
from ..progress import Progress, Silent

EMBEDDINGS, NFORMER = "embeddings.h5", "nformer.pt"


@writing_stage
def subsample(
    run: Run,
    images_per_identity: Sequence[int],
    *,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = Silent(),
) -> list[Path]:
    """Write a run below `run` for each number: RUN/images-per-identity-05 and so on.

    Each holds embeddings.h5 with so many gallery images of an identity on average (every identity
    keeps the same share of its own, and one at least), all queries, training images and
    distractors, and a copy of nformer.pt where there is one: `nformer evaluate` works on it as on
    any run. Smaller subsets lie within larger ones.

    Raises:
        MissingArtifact, StaleArtifact: embeddings.h5, with the command for it.
        BadInput: a number below 1.
    """
    if not images_per_identity or min(images_per_identity) < 1:
        raise BadInput("--images-per-identity: wanted whole numbers from 1, as in 5,10,15,20")
    run.artifact(EMBEDDINGS)
    gallery = load_embeddings(run.path(EMBEDDINGS), "gallery")
    whole = distractors(gallery.pids, load_embeddings(run.path(EMBEDDINGS), "query").pids)
    folders = []
    for number in images_per_identity:
        target = Run(run.folder / f"images-per-identity-{number:02d}")
        chosen = whole.copy()
        chosen[~whole] = drawn_on_average(gallery.pids[~whole], number, seed=seed)
        kept = gallery.select(chosen)
        config = {"mean_images_per_identity": number, "seed": seed}
        _write_embeddings(run, target, gallery=kept, config=config, overwrite=overwrite)
        _copy_model(run, target, overwrite=overwrite)
        progress.message(f"{target.folder}: {len(kept):,} of {len(gallery):,} gallery images")
        folders.append(target.folder)
    return folders


def _write_embeddings(
    run: Run, target: Run, *, gallery: Embeddings, config: dict[str, Any], overwrite: bool
) -> None:
    manifest = run.require_manifest(EMBEDDINGS)
    inputs = {f"../{EMBEDDINGS}": manifest.sha256}
    wanted = Manifest(EMBEDDINGS, "subsample", config, inputs, facts=manifest.facts)
    if target.is_current(wanted, overwrite=overwrite):
        return
    with open_embeddings(run.path(EMBEDDINGS)) as file:
        names, labels = splits_in(file), labels_in(file)
    splits: dict[str, Any] = {name: load_embeddings(run.path(EMBEDDINGS), name) for name in names}
    with target.writing(wanted) as (path, _):
        dataset = str(manifest.facts.get("dataset", ""))
        save_embeddings(path, **{**splits, "gallery": gallery}, dataset=dataset, labels=labels)


def _copy_model(run: Run, target: Run, *, overwrite: bool) -> None:
    """Copy nformer.pt: its manifest says that it was made from the whole run's."""
    manifest = run.manifest(NFORMER)
    if manifest is None:
        return
    run.artifact(NFORMER)
    inputs = {f"../{NFORMER}": manifest.sha256}
    wanted = dataclasses.replace(manifest, stage="subsample", inputs=inputs)
    if target.is_current(wanted, overwrite=overwrite):
        return
    with target.writing(wanted) as (path, _):
        shutil.copyfile(run.path(NFORMER), path)
