"""Open the images of a run's data set, packed or not, and record where they lie."""

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..artifacts.moved import pictures_root
from ..artifacts.run import Run
from ..data.catalogue import doubts, entry, open_dataset, rules_of
from ..data.images import ImageFiles, ImageSource, UnreadableImage
from ..data.packed import PackedFile
from ..data.samples import Dataset
from ..data.several import SETS
from ..errors import BadInput, MissingArtifact
from ..flow import command_line
from ..preprocessing import Preprocessing
from ..progress import Progress, Silent
from .given import GivenNetwork

PACKED = "images.h5"
Sources = Callable[[Sequence[str]], ImageSource]


def image_sources(
    run: Run, dataset: Dataset, *, preprocessing: Preprocessing, progress: Progress = Silent()
) -> Sources:
    """Return what gives a reader of some of a data set's images: images.h5 where it serves.

    preprocessing: how images are fitted to what the network takes.

    Raises:
        BadInput: images.h5 is damaged.
    """
    manifest = run.manifest(PACKED)
    if manifest is not None:
        packed = Preprocessing(height=manifest.config["height"], width=manifest.config["width"])
        problem = ""
        if packed.geometry != preprocessing.geometry:
            problem = f"its images are {packed.shape}, wanted are {preprocessing.shape}"
        elif manifest.inputs["image list"] != dataset.digest():
            problem = "it was packed from another list of files"
        if not problem:
            progress.message(f"images from {run.path(PACKED)}")
            blocks, _ = run.mapped(PACKED)
            return PackedFile(blocks.path, blocks).images
        words = (dataset.name, *reader_arguments(dataset_facts(dataset)), "--overwrite")
        progress.warn(
            f"{run.path(PACKED)} is not used: {problem}; pack again with: "
            f"{command_line('pack', *words, run=run.folder)}"
        )
    return lambda names: ImageFiles(dataset.root, names, preprocessing=preprocessing)


def find_dataset(
    run: Run,
    dataset: str | Dataset | None,
    *,
    root: str | Path | None,
    options: Mapping[str, Any] | None = None,
    progress: Progress = Silent(),
) -> Dataset:
    """Return the data set asked for, or else the one that the run's backbone was trained on.

    options: of its reader; those that the backbone was trained with stay unless given anew.

    Raises:
        BadInput: another data set without a root, or files that are not as they should be.
        MissingArtifact: no backbone was trained here.
    """
    if isinstance(dataset, Dataset):
        return dataset
    if run.manifest("backbone.pt") is None:
        raise MissingArtifact(
            f"{run.missing('backbone.pt')}. Or embed with a network as it is: --onnx FILE, or "
            "--arch NAME --weights FILE"
        )
    facts = run.facts("backbone.pt")
    name = dataset or facts["dataset"]
    same = name == facts["dataset"]
    if not same:
        entry(name)
    if root is None and not same:
        raise BadInput(f"--root is needed: the backbone was trained on {facts['dataset']}")
    kept = facts.get("options", {}) if same else {}
    if root is not None and SETS in kept:
        raise BadInput(
            f"the backbone was trained on several data sets ({name}), which lie at several roots; "
            "name one of them: --dataset NAME --root DIR"
        )
    where = root or pictures_root(run, facts)
    given = {**kept, **(options or {})}
    if same and _has_own_table(facts, where, told=root is not None):
        given, where = {"images": str(where), **given}, facts["root"]
    if root is None and not Path(where).exists():
        raise BadInput(
            f"the images of data set {name} were at {where} and are not there now; say where they "
            "are: --root DIR"
        )
    return open_dataset(name, where, options=given, progress=progress)


def _has_own_table(facts: Mapping[str, Any], where: str | Path, *, told: bool) -> bool:
    """Return whether the table that pictures were named by stands where it did, and they do not.

    told: whether --root says where; then a table of this name there is read.
    """
    table = facts.get("options", {}).get("table", "")
    if not table or os.path.isabs(table) or not Path(where).is_dir():
        return False
    elsewhere = Path(where).resolve() != Path(facts["root"]).resolve()
    stands = Path(facts["root"], table).is_file()
    return elsewhere and stands and not (told and Path(where, table).is_file())


def dataset_for_network(
    given: GivenNetwork,
    dataset: str | Dataset | None,
    *,
    root: str | Path | None,
    options: Mapping[str, Any] | None,
    progress: Progress,
) -> Dataset:
    """Return the data set to embed with a network that was not trained here."""
    if isinstance(dataset, Dataset):
        return dataset
    if dataset is not None:
        entry(dataset)
    if dataset is None or root is None:
        raise BadInput(
            f"{given.option} needs --dataset NAME and --root DIR: no backbone.pt names them"
        )
    return open_dataset(dataset, root, options=options, progress=progress)


def tell(dataset: Dataset, progress: Progress) -> None:
    """Say what was understood of a data set's files, and what may be wrong with them."""
    for text in (*dataset.notices, *doubts(dataset)):
        progress.warn(text)


def dataset_facts(dataset: Dataset) -> dict[str, Any]:
    """Return what a manifest records of a data set, to find it again."""
    return {
        "dataset": dataset.name,
        "root": str(dataset.root.resolve()),
        "options": dict(dataset.options),
        "images": {split: len(dataset.split(split)) for split in dataset.filled_splits()},
        "cameras_known": dataset.has_cameras,
        "rules": dataset.rules or rules_of(dataset.name),
    }


def dataset_names(facts: Mapping[str, Any]) -> list[str]:
    """Return the names that a command takes a data set by, from `dataset_facts`."""
    sets = facts.get("options", {}).get(SETS)
    return [one["name"] for one in sets] if sets else [facts.get("dataset", "DATASET")]


def reader_arguments(facts: Mapping[str, Any]) -> list[str]:
    """Return the options of a command that read a data set again, from `dataset_facts`."""
    root, options = facts.get("root") or "DIR", dict(facts.get("options", {}))
    table = options.pop("table", "")
    if os.path.isabs(table):  # its pictures lie elsewhere
        options["images"] = root
    if SETS in options:
        return [word for one in options[SETS] for word in ("--root", one["root"])]
    found = ["--root", os.path.join(root, table) if table else root]
    for name, value in options.items():
        found += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return found


@contextmanager
def naming_check_of(dataset: Dataset) -> Iterator[None]:
    """Let the error of an unreadable image name the command that lists all of its data set."""
    try:
        yield
    except UnreadableImage as error:
        facts = dataset_facts(dataset)
        path = (dataset.root / error.name).resolve()
        holding = [
            one for one in facts["options"].get(SETS, ()) if path.is_relative_to(one["root"])
        ]
        if holding:  # check-data takes one data set
            one = max(holding, key=lambda one: len(one["root"]))
            facts = {"dataset": one["name"], "root": one["root"], "options": one["options"]}
        words = ("nformer", "check-data", facts["dataset"], *reader_arguments(facts))
        raise UnreadableImage(error.name, error.reason, check=shlex.join(words)) from error


def skipped_text(skipped: dict[str, str]) -> str:
    """Return a warning that counts and lists images that were left out."""
    listed = "; ".join(f"{name} ({reason})" for name, reason in list(skipped.items())[:5])
    rest = f"; and {len(skipped) - 5} more, in the manifest" if len(skipped) > 5 else ""
    many = f"{len(skipped):,} images" if len(skipped) > 1 else "1 image"
    were = "were" if len(skipped) > 1 else "was"
    return f"{many} could not be read and {were} left out: {listed}{rest}"
