"""a folder of pictures + a network -> index.h5: no data set, no identities, no run before"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..artifacts.manifest import Manifest
from ..artifacts.nformer import load_nformer
from ..artifacts.run import Run, writing_stage
from ..config import ExtractConfig
from ..data.images import UnreadableImage
from ..device import choose_device
from ..embeddings import Embeddings
from ..errors import BadInput
from ..extraction.chunks import ChunkedEmbedding
from ..extraction.given import given_network
from ..extraction.networks import open_network
from ..extraction.pictures import Picture, PictureFiles, pictures_below
from ..extraction.run_network import items_manifest, remembered, settings_of
from ..extraction.sources import skipped_text
from ..extraction.tracklets import require_pooling, tracklets
from ..files import file_digest, text_digest
from ..gallery.index import build_index
from ..gallery.index_file import save_index
from ..progress import Progress, Silent
from .index import ARTIFACT, is_current

if TYPE_CHECKING:
    from ..nformer.model import NFormer

KEPT = ("flip", "amp")  # settings of [extract] that change embeddings, beside the network's own


@writing_stage
def index_pictures(
    run: Run,
    folder: str | Path,
    *,
    boxes: str | Path | None = None,
    tracks: str = "mean",
    arch: str | None = None,
    weights: str | Path | None = None,
    onnx: str | Path | None = None,
    config: ExtractConfig = ExtractConfig(),
    model: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = Silent(),
) -> Path:
    """Embed and index the pictures in a folder and below it; return the path of index.h5.

    boxes:  a file of boxes, embedded in place of the whole pictures, which are then frames.
    tracks: how the boxes of a track become one item: mean, median or best-K.
    arch, weights, onnx: a network that was not trained here; None: the one of this run.
    model:  an NFormer that refines the items. Without one, and without one in the run, they are
            compared as the network embeds them.

    Raises:
        MissingArtifact: no network is given and the run has none.
        BadInput: no pictures, one that cannot be read, boxes that do not fit them, or a network
            that cannot be opened.
    """
    folder = Path(folder).expanduser()
    require_pooling(tracks)
    given, own = given_network(arch=arch, weights=weights, onnx=onnx), None
    if given is None:
        own = items_manifest(run)
        given, config = remembered(own, run), settings_of(own)
    boxes = None if boxes is None else Path(boxes)
    pictures = pictures_below(folder, boxes=boxes, progress=progress)
    refiner, inputs = _refiner(run, model, trained_here=own is not None)
    inputs |= run_inputs(run) if given is None else given.inputs()
    inputs |= {} if boxes is None else {"boxes": file_digest(boxes)}
    of_network = {key: getattr(config, key) for key in KEPT}
    of_network |= {} if given is None else given.as_table(config)
    settings = {"seed": seed, "assume": "auto", "tracks": tracks, "network": of_network}
    wanted = _wanted(pictures, folder, settings=settings, inputs=inputs)
    if not overwrite and is_current(run, wanted, progress=progress):
        return run.path(ARTIFACT)
    run.claim()
    network = open_network(
        run, given, config=config, device=choose_device(device), progress=progress
    )
    scratch = run.scratch(ARTIFACT)
    work = ChunkedEmbedding(
        network, scratch, wanted=wanted, config=config, overwrite=overwrite, progress=progress
    )
    features, kept, skipped = _embedded(work, pictures)
    if skipped:
        progress.warn(skipped_text(skipped))
    gallery, members = _items(features, kept, folder=folder, tracks=tracks)
    _tell(gallery, refiner, progress=progress)
    index = build_index(gallery, refiner, seed=seed, members=members)
    with run.writing(wanted) as (path, facts):
        facts.update(calibration=None, added=0, removed=0, skipped=skipped)
        facts.update(network.facts(given))
        save_index(path, index)
    run.clear_scratch(ARTIFACT)
    return run.path(ARTIFACT)


def _wanted(
    pictures: list[Picture], folder: Path, *, settings: dict[str, Any], inputs: dict[str, str]
) -> Manifest:
    """Return the manifest of an index of these pictures, which are known by name and size."""
    listed = [f"{one.path.relative_to(folder)} {one.path.stat().st_size}" for one in pictures]
    root = str(folder.resolve())
    return Manifest(
        ARTIFACT,
        "index",
        settings | {"pictures": root},
        inputs | {"pictures": text_digest("\n".join(listed))},
        {"dataset": "", "root": root, "folders": [root]},
    )


def _embedded(
    work: ChunkedEmbedding, pictures: list[Picture]
) -> tuple[np.ndarray, list[Picture], dict[str, str]]:
    """Return the embeddings [N, d] of the pictures that could be read, these, and the others."""
    source = PictureFiles(pictures, work.network.preprocessing)
    try:
        work.embed_all({"pictures": source})
    except UnreadableImage as error:
        raise BadInput(
            f"{error.name}: {error.reason}; replace it, or go on without what cannot be read: "
            "--on-bad-image skip"
        ) from error
    parts = list(work.read("pictures", source))
    kept = [pictures[row] for part in parts for row in part.rows]
    if not kept:
        raise BadInput(f"none of the {len(pictures)} pictures could be read")
    features = np.concatenate([part.features for part in parts if len(part.rows)])
    return features, kept, {name: why for part in parts for name, why in part.skipped.items()}


def run_inputs(run: Run) -> dict[str, str]:
    """Return what a manifest records of the run's own backbone."""
    return {"backbone.pt": run.digest("backbone.pt")}


def _refiner(
    run: Run, model: str | Path | None, *, trained_here: bool
) -> "tuple[NFormer | None, dict[str, str]]":
    """Return the NFormer given, or the run's where its network embeds the pictures."""
    if model is not None:
        return load_nformer(model), {f"model {Path(model).name}": file_digest(Path(model))}
    if trained_here and run.manifest("nformer.pt") is not None:
        return load_nformer(run.artifact("nformer.pt")), {"nformer.pt": run.digest("nformer.pt")}
    return None, {}


def _items(
    features: np.ndarray, pictures: list[Picture], *, folder: Path, tracks: str
) -> tuple[Embeddings, list[str]]:
    """Return the index's items, a track being one, and the pictures that each is made of."""
    names = [one.name.removeprefix(f"{folder}/") for one in pictures]
    found = tracklets(features, pictures, names=names, pooling=tracks)
    unknown = np.full(len(found.names), -1)
    return Embeddings(found.features, unknown, unknown, found.names), found.members


def _tell(gallery: Embeddings, refiner: Any, *, progress: Progress) -> None:
    progress.message(f"indexing {len(gallery):,} items, {gallery.dim} numbers each")
    if refiner is None:
        progress.message(
            "there are no training identities here, and refinement without them harms some sets: "
            "pictures are compared as the network embeds them. To refine, give --model FILE of a "
            "run on pictures like these by the same network"
        )
