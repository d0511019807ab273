"""embeddings.h5 (+ nformer.pt) -> index.h5, which new pictures are searched in and added to"""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..artifacts.embeddings import load_embeddings, load_labels, open_embeddings, splits_in
from ..artifacts.manifest import Manifest
from ..artifacts.nformer import load_nformer
from ..artifacts.run import Run, writing_stage
from ..data.boxes import parts_of
from ..embeddings import Embeddings
from ..errors import StaleArtifact
from ..files import file_digest
from ..flow import command_line
from ..gallery.calibration import FEWEST, MOST, Calibration, calibrate, some_identities
from ..gallery.index import GalleryIndex, build_index
from ..gallery.index_file import open_index, save_index
from ..gallery.refinement import GalleryState
from ..gallery.states import refine_gallery
from ..nformer.on_closed_form import NFormerOnClosedForm
from ..progress import Progress, Silent
from ..refiners.domain_shift import Assume
from .early import require_index

if TYPE_CHECKING:
    from ..nformer.model import NFormer

ARTIFACT = "index.h5"


@writing_stage
def index_gallery(
    run: Run,
    *,
    model: str | Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = Silent(),
    state: GalleryState | None = None,
    assume: Assume = "auto",
) -> Path:
    """Build the index of the run's gallery: embeddings, neighbour graph and every layer's states.

    Landmarks come from the training identities, where there are any, and are kept with the index:
    it is the same however it came about, at once or item by item.

    model: an NFormer of another run, instead of this run's; without either the embeddings are
           searched as they are.
    state: the gallery as an evaluation by this run's NFormer refined it, to be used again.
    assume: whether the gallery looks like the training set: found out, or same, or foreign.

    Raises:
        MissingArtifact, StaleArtifact: embeddings.h5, a stale nformer.pt, or another index is
            there and `overwrite` is not given.
    """
    source = run.artifact("embeddings.h5")
    refiner, inputs = _refiner(run, model, progress=progress)
    inputs = {"embeddings.h5": run.digest("embeddings.h5"), **inputs}
    origin = {key: run.facts("embeddings.h5").get(key, "") for key in ("dataset", "root")}
    if "network" in run.facts("embeddings.h5"):
        origin["network"] = run.facts("embeddings.h5")["network"]
    if isinstance(refiner, NFormerOnClosedForm):
        refiner.closed_form.assume = assume
    wanted = Manifest(ARTIFACT, "index", {"seed": seed, "assume": assume}, inputs, origin)
    if not overwrite and is_current(run, wanted, progress=progress):
        return run.path(ARTIFACT)
    run.claim()
    gallery = load_embeddings(source, "gallery")
    train = _training_identities(source, seed)
    progress.message(f"indexing {len(gallery):,} gallery items")
    if train is not None and origin["dataset"] in ("folder", "csv"):
        _tell_of_training(run, train, gallery=gallery, root=origin["root"], progress=progress)
    marks = None
    if refiner is not None and len(refiner.blocks) and train is not None:
        marks = refine_gallery(refiner, train, seed=seed).marks
    state = state if model is None else None
    index = build_index(
        gallery, refiner, marks=marks, seed=seed, state=state, names=load_labels(source)
    )
    found = calibrate(train) if train is not None else None
    _tell(found, train, index=index, progress=progress)
    calibration = None if found is None else dataclasses.asdict(found)
    with run.writing(wanted) as (path, facts):
        facts.update(calibration=calibration, added=0, removed=0)
        facts.update(_domain(index, progress=progress))
        save_index(path, index)
    return run.path(ARTIFACT)


@dataclass(frozen=True, eq=False)
class StoredIndex:
    """An opened index and its manifest, whose facts are dataset, root, calibration and changes."""

    index: GalleryIndex
    manifest: Manifest

    @property
    def calibration(self) -> Calibration | None:
        """What tells strangers, or None where there were too few training identities."""
        kept = self.manifest.facts["calibration"]
        return None if kept is None else Calibration(**kept)


def _tell_of_training(
    run: Run, train: Embeddings, *, gallery: Embeddings, root: str, progress: Progress
) -> None:
    """Say that people who were trained on are not indexed, as one expects of own pictures."""
    if np.isin(train.pids, gallery.pids).any() or run.manifest("backbone.pt") is None:
        return
    files = [parts_of(name)[0] for one in (train, gallery) for name in one.names]
    common = os.path.commonpath([os.path.dirname(file) for file in files])
    folder = os.path.join(root, common) if common else root
    network = ("--weights", run.path("backbone.pt"))
    progress.message(
        "people who were trained on are not among them; all pictures, without identities, go into "
        f"another run: {command_line('index', '--pictures', folder, *network, run='NEW')}"
    )


def opened(run: Run, *, whole: bool = False) -> StoredIndex:
    """Open the run's index after checking that what it was made from is still there.

    whole: compare all of its content with the manifest's digest. A search compares the blocks that
           it touches: an index of a million items opens in a fifth of a second.

    Raises:
        MissingArtifact: no index.   StaleArtifact: made from other embeddings or another model.
        BadInput: damaged, or written by another version.
    """
    require_index(run)
    if whole:
        run.require_whole(ARTIFACT)
    blocks, manifest = run.mapped(ARTIFACT)
    changed = []
    for name, digest in manifest.inputs.items():
        now = run.manifest(name)
        if now is not None and now.sha256 != digest:
            changed.append(name)
    if changed:
        raise StaleArtifact(
            f"{blocks.path} was made from another {' and another '.join(changed)} than the one "
            f"there now; remake it with: {command_line('index', '--overwrite', run=run.folder)}"
        )
    return StoredIndex(open_index(blocks.path, blocks=None if whole else blocks), manifest)


def _refiner(
    run: Run, model: str | Path | None, *, progress: Progress
) -> "tuple[NFormer | None, dict[str, str]]":
    if model is not None:
        return load_nformer(model), {f"model {Path(model).name}": file_digest(Path(model))}
    if run.manifest("nformer.pt") is None:
        progress.warn(
            "no nformer.pt in this run: the index searches the embeddings as they are. Train one "
            f"with: {command_line('train-nformer', run=run.folder)}, or give --model FILE"
        )
        return None, {}
    return load_nformer(run.artifact("nformer.pt")), {"nformer.pt": run.digest("nformer.pt")}


def is_current(run: Run, wanted: Manifest, *, progress: Progress) -> bool:
    """Return whether the index is there; StaleArtifact, with what has changed, if another is."""
    path = run.path(ARTIFACT)
    if not path.exists():
        return False
    found = require_index(run)
    if run.holds(wanted):
        added, removed = found.facts["added"], found.facts["removed"]
        changes = f"; items added since it was built: {added}, removed: {removed}"
        progress.message(f"{path} is up to date" + (changes if added or removed else ""))
        return True
    raise StaleArtifact(
        f"{path} was made otherwise: {'; '.join(wanted.differences(found))}. Add --overwrite to "
        "replace it, and what was added to it"
    )


def _training_identities(source: Path, seed: int) -> Embeddings | None:
    with open_embeddings(source) as file:
        if "train" not in splits_in(file):
            return None
    train = load_embeddings(source, "train").without_junk()
    return some_identities(train, most=MOST, seed=seed) if len(train) else None


def _domain(index: GalleryIndex, *, progress: Progress) -> dict[str, Any]:
    """Return whether the gallery looks like training, and warn where it does not."""
    if index.state is None or index.state.start is None:
        return {}
    domain = index.state.start.domain
    if domain.foreign:
        progress.warn(str(domain))
    return {"domain": domain.as_table(), "domain_shift": domain.short}


def _tell(
    found: Calibration | None, train: Embeddings | None, *, index: GalleryIndex, progress: Progress
) -> None:
    if found is None:
        people = 0 if train is None else len(np.unique(train.pids))
        why = f"{people} training identities, and at least {FEWEST} are needed"
        if people >= FEWEST:
            why = "no training identity has a second picture"
        progress.warn(
            f"no threshold is calibrated: {why}. A search will not say that nobody is there unless "
            "it is given a similarity: --threshold 0.6"
        )
        return
    before = " before refinement" if index.refined_by else ""
    rate = max(0.01, 1 / found.stranger_count)
    threshold = found.threshold(rate)
    progress.message(
        f"calibrated on {found.stranger_count} pictures of strangers against {found.gallery}: "
        f"similarity {threshold:.3f}{before} accepts "
        f"{found.false_accepts(threshold):.1%} of them, and "
        f"{found.accepts(threshold):.1%} of {found.friend_count} pictures of people who are there. "
        "These are training people: calibrated to 1 %, 0 to 12 % of test strangers were accepted "
        "on 20 sets"
    )
