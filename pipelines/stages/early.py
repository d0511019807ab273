"""What a command finds wrong before its stage, and PyTorch with it, is loaded: names and paths.

The stages check the same again: they are called without a command too.
"""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..artifacts.formats.reading import FORMATS
from ..artifacts.manifest import Manifest
from ..artifacts.run import Run
from ..backbones.names import initial_weights_file, require_published, require_trainable
from ..config import BackboneConfig, ExtractConfig, NFormerConfig
from ..data.catalogue import doubts, open_datasets
from ..data.images import UnreadableImage, image_size
from ..data.samples import Dataset
from ..errors import BadInput, MissingArtifact
from ..extraction.given import PUBLISHED, GivenNetwork, given_network, require_own
from ..extraction.pictures import pictures_in, require_within
from ..extraction.run_network import named_network
from ..extraction.sources import dataset_for_network, find_dataset
from ..extraction.tracklets import require_pooling
from ..files import no_file
from ..flow import command_line
from ..gallery.asked import all_removed, uncalibrated
from ..gallery.index_file import index_names
from ..progress import Progress

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
INDEX = "index.h5"
WEIGHTS = "a file of weights (.pt, .pth, .safetensors)"
SERVER = ("fastapi", "uvicorn", "prometheus_client")
NETWORK_FORMATS = ("onnx", "torchscript", "safetensors")  # of `nformer export`


def dataset_to_train_on(
    datasets: Sequence[str],
    *,
    roots: Sequence[str | Path],
    config: BackboneConfig,
    options: Mapping[str, Any],
    progress: Progress,
) -> Dataset:
    """Return the data set, or several as one, to train a backbone on; network and weights are
    looked at first.
    """
    require_trainable(config.arch)
    weights = initial_weights_file(config.weights)
    if weights is not None:
        require_checkpoint(weights, option="--weights")
    data = open_datasets(datasets, roots, options=options, progress=progress)
    if "train" not in data.filled_splits():
        for text in doubts(data):
            progress.warn(text)
    data.split("train")
    return data


# NFormer's settings that follow from the backbone's epochs where they are trained in turn.
BY_EPOCHS = (
    *("steps", "eval_every", "held_out", "schedule", "milestones"),
    *("warmup_steps", "warmup_factor", "gamma"),
)


def in_turn(config: NFormerConfig, backbone: BackboneConfig, *, images: int) -> NFormerConfig:
    """Return NFormer's settings for epochs in turn: updates and schedule by the backbone's epochs.

    An epoch has as many updates as it has batches, rounded, one at least.

    Raises:
        BadInput: an NFormer on a closed form, which is fitted on finished embeddings.
    """
    if config.closed_form:
        raise BadInput(
            "an NFormer trained in turn starts from no closed form: that is fitted on finished "
            "embeddings. Use --recipe paper or released, or --set nformer.closed_form=false; or "
            "train stage by stage"
        )
    each = max(1, round(images / config.batch))
    return replace(
        config.settled(),
        steps=backbone.epochs * each,
        eval_every=each,
        held_out=0.0,  # all identities, the last step, as in the paper
        warmup_steps=backbone.warmup_epochs * each,
        warmup_factor=backbone.warmup_factor,
        schedule=backbone.schedule,
        milestones=tuple(epoch * each for epoch in backbone.milestones),
        gamma=backbone.gamma,
    )


def dataset_to_embed(
    run: Run,
    given: GivenNetwork | None,
    *,
    dataset: str | None,
    root: str | Path | None,
    config: ExtractConfig,
    options: Mapping[str, Any],
    progress: Progress,
) -> Dataset:
    """Return the data set to embed, with a network that was trained here or is given."""
    if config.preset != "own":
        require_published(config.preset, option="--set preset=")
    if given is None:
        require_own(config)
        return find_dataset(run, dataset, root=root, options=options, progress=progress)
    return dataset_for_network(given, dataset, root=root, options=options, progress=progress)


def network_given(
    *, arch: str | None, weights: str | None, onnx: Path | None
) -> GivenNetwork | None:
    """Return the network that options name, after looking for its architecture and file."""
    given = given_network(arch=arch, weights=weights, onnx=onnx)
    if given is not None and not (given.is_onnx or given.names_itself):
        require_published(given.arch)
        if given.weights != PUBLISHED:
            require_checkpoint(Path(given.weights), option="--weights")
    return given


def require_clustering(
    run: Run,
    *,
    index: Path | None,
    files: Sequence[Path],
    tables: Mapping[str, Path | None],
    method: str,
) -> None:
    """Raise BadInput or MissingArtifact where there is nothing to cluster, or no way to do it."""
    from ..artifacts.cluster_files import edited_lines
    from ..clustering.names import require_method

    require_method(method)
    for option, table in tables.items():
        require_file(table, option=option, wanted="a table (.csv)")
        if table is not None and option == "--edited":
            list(edited_lines(table))
    if index is not None:
        require_file(index, option="--index", wanted="the index.h5 of a run")
    for path in files:
        if not path.is_dir():
            require_file(path, wanted="a file of embeddings")
    if index is None and not files and only_index(run) is None:
        run.require_manifest("embeddings.h5")


def only_index(run: Run) -> Path | None:
    """Return the index of a run that has no embeddings, as one of pictures has none; else None."""
    path = run.path(INDEX)
    return path if path.exists() and not run.path("embeddings.h5").exists() else None


def require_pictures(
    run: Run, folder: Path, *, boxes: Path | None, tracks: str, given: GivenNetwork | None
) -> None:
    """Raise BadInput or MissingArtifact where pictures cannot be indexed: no folder, no network."""
    require_pooling(tracks)
    require_folder(folder, option="--pictures", wanted="a folder of pictures")
    require_file(boxes, option="--boxes", wanted="a file of boxes")
    if given is None:
        try:
            named_network(run)
        except MissingArtifact:
            raise MissingArtifact(
                f"{run.folder} has no network to embed pictures with; name one: --onnx FILE, or "
                "--arch NAME --weights FILE"
            ) from None


def require_index(run: Run) -> Manifest:
    """Return the manifest of a run's index; MissingArtifact, with the command for it, without."""
    path, manifest = run.path(INDEX), run.manifest(INDEX)
    if not path.exists():
        raise MissingArtifact(
            f"{path} is not there; make it with: {command_line('index', run=run.folder)}"
        )
    if manifest is None:
        raise BadInput(
            f"{path} has no manifest: it was written by another version of nformer; remake it "
            f"with: {command_line('index', '--overwrite', run=run.folder)}"
        )
    return manifest


def require_names(run: Run, pattern: str) -> None:
    """Raise BadInput unless a pattern fits some names in a run's index, and not all of them.

    pattern: as a shell has it, capitals apart.
    """
    require_index(run)
    names = index_names(run.path(INDEX))
    count = sum(fnmatch.fnmatchcase(name, pattern) for name in names)
    if not count:
        raise BadInput(
            f"no name in {run.path(INDEX)} matches {pattern!r}; names look like {names[0]}"
        )
    if count == len(names):
        raise all_removed(count)


def require_model(model: Path, *, runs: Sequence[Run]) -> None:
    """Raise BadInput unless --model is a PyTorch file, and as wide as the embeddings of each run.

    Widths are compared where manifests tell them.
    """
    require_checkpoint(model, option="--model", wanted="an nformer.pt")
    dim = _width(Run(model.parent), model.name)
    for width in (_width(run, "embeddings.h5") for run in runs):
        if dim and width and dim != width:
            raise unlike_width(model, dim=dim, width=width)


def _width(run: Run, name: str) -> int:
    manifest = run.manifest(name)
    return 0 if manifest is None else int(manifest.facts.get("dim", 0))


def unlike_width(model: Path, *, dim: int, width: int) -> BadInput:
    """Return the error of an NFormer that refines embeddings of another width than a run's."""
    return BadInput(
        f"--model {model} refines embeddings {dim} wide, the run's are {width} wide; use one that "
        "was trained on embeddings of this width"
    )


def require_sources(
    run: Run,
    sources: Sequence[Path],
    *,
    crop: tuple[int, int, int, int] | None = None,
    threshold: float | str | None = None,
) -> None:
    """Raise BadInput unless the pictures and files are there, and the index that they are for.

    crop, threshold: as asked for; the first must lie within each picture that is named itself.
    """
    manifest = require_index(run)
    if threshold == "auto" and manifest.facts.get("calibration", "") is None:
        raise uncalibrated(run.path(INDEX))
    for path in sources:
        if path.suffix.lower() in FORMATS and not path.is_dir():
            require_file(path, wanted="a file of embeddings")
            continue
        pictures = pictures_in(path)
        if pictures == [path]:
            try:
                size = image_size(path)
            except UnreadableImage as error:
                raise BadInput(
                    f"{path}: {error.reason}; wanted is a picture, a folder of pictures, or a "
                    f"file of embeddings ({', '.join(FORMATS)})"
                ) from None
            if crop is not None:
                require_within(crop, size, path=path)
        named_network(run)


def require_server() -> None:
    """Raise BadInput unless the packages of a server are there."""
    missing = [name for name in SERVER if find_spec(name) is None]
    if missing:
        raise BadInput(f"serve needs {', '.join(missing)}: python -m pip install 'nformer[serve]'")


def wants_tensorboard(log: str) -> bool:
    """Return whether --log asks for TensorBoard's files beside train.jsonl.

    Raises:
        BadInput: it asks for something else, or the package is not installed.
    """
    if log not in ("", "tensorboard"):
        raise BadInput(f"--log {log}: wanted tensorboard; train.jsonl is written anyway")
    if log and find_spec("tensorboard") is None:
        raise BadInput(
            "--log tensorboard needs its package: python -m pip install 'nformer[tensorboard]'"
        )
    return bool(log)


def require_repository(name: str) -> None:
    """Raise BadInput unless it can be the name of a repository, and the Hub's package is there."""
    if REPOSITORY.fullmatch(name) is None:
        raise BadInput(f"--push {name}: wanted OWNER/NAME, a repository of the Hugging Face Hub")
    if find_spec("huggingface_hub") is None:
        raise BadInput("--push needs its package: python -m pip install 'nformer[hub]'")


def require_network_format(format: str) -> None:
    """Raise BadInput unless a backbone can be exported in this format."""
    if format not in NETWORK_FORMATS:
        raise BadInput(f"--format {format}: known are {', '.join(NETWORK_FORMATS)}")


def require_checkpoint(path: Path, *, option: str = "", wanted: str = WEIGHTS) -> None:
    """Raise BadInput unless a file begins as PyTorch's do: with a zip's bytes, or a pickle's."""
    require_file(path, option=option, wanted=wanted)
    with path.expanduser().open("rb") as file:
        begins = file.read(1)
    if path.suffix != ".safetensors" and begins not in (b"P", b"\x80"):
        raise BadInput(f"{option} {path} is no PyTorch file; {wanted} is wanted".lstrip())


def require_file(path: Path | None, *, option: str = "", wanted: str) -> None:
    """Raise BadInput unless a path, where one is given, is a file."""
    problem = "" if path is None else no_file(path.expanduser())
    if problem:
        raise BadInput(f"{option} {path} {problem}; {wanted} is wanted".lstrip())


def require_moved(root: Path | None) -> None:
    """Raise BadInput unless --root, where it is given, is the folder that pictures lie in now."""
    if root is not None:
        require_folder(root, option="--root", wanted="the folder of the pictures")


def require_folder(path: Path, *, option: str, wanted: str) -> None:
    """Raise BadInput unless a path is a folder."""
    if not path.expanduser().is_dir():
        problem = "is no folder" if path.exists() else "is not there"
        raise BadInput(f"{option} {path} {problem}; {wanted} is wanted")
