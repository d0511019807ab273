"""index.h5 + pictures or embeddings -> index.h5 with them; or without items, by their names"""

import dataclasses
import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..artifacts.manifest import Manifest
from ..artifacts.run import Run, writing_stage
from ..embeddings import Embeddings
from ..errors import BadInput
from ..extraction.pictures import Gathered, gather
from ..extraction.run_network import run_network
from ..flow import command_line
from ..gallery.index import GalleryIndex, extended, reduced
from ..gallery.index_file import save_index
from ..labels import NAME, LabelNames, joined_labels, same_everywhere
from ..progress import Progress, Silent
from .early import require_index, require_names
from .index import ARTIFACT, opened


@writing_stage
def add_to_index(
    run: Run,
    sources: Sequence[str | Path],
    *,
    pid: int | str = -1,
    camid: int | str = -1,
    device: str = "auto",
    progress: Progress = Silent(),
) -> int:
    """Add pictures, folders of pictures, or files of embeddings; returns how many items.

    The index becomes what building it with them would give. It is replaced in one step at the end:
    whatever ends this before leaves the old one whole.

    pid, camid: whose pictures these are, and of which camera; -1: not known. Text is the name of an
                identity or a camera, where the index has names.

    Raises:
        BadInput: names that the index has already, unreadable pictures, another width, names of
            identities or cameras where the index has numbers.
    """
    require_index(run)
    run.claim()
    person, camera = (
        int(same_everywhere(np.array([str(label)]), what)[0])
        for what, label in (("--pid", pid), ("--camid", camid))
    )
    new = gather(
        [Path(source) for source in sources],
        prefer="gallery",
        network=lambda use: run_network(run, device, use=use),
        pid=person,
        camid=camera,
        progress=progress,
    )
    items = _absolute(new.embeddings, new.pictures)
    stored = opened(run, whole=True)
    if items.dim != stored.index.dim:
        raise BadInput(
            f"the new embeddings are {items.dim} wide, those in {run.path(ARTIFACT)} "
            f"{stored.index.dim}; one network makes one width"
        )
    _require_new(items.names, stored.index.names)
    named = {"pids": {person: str(pid)}, "camids": {camera: str(camid)}}
    labels, names = _labels_there(stored.index, new, named=named)
    index = extended(stored.index, dataclasses.replace(items, **labels), names=names)
    places = [one for one in map(Path, sources) if one.is_dir() or one in new.pictures]
    folders = [str((one if one.is_dir() else one.parent).resolve()) for one in places]
    _replace(run, index, manifest=stored.manifest, folders=folders, added=len(items))
    return len(items)


@writing_stage
def remove_from_index(run: Run, pattern: str, *, progress: Progress = Silent()) -> int:
    """Remove the items whose names match a pattern such as `*/0042_*`; returns how many.

    Raises:
        BadInput: no name matches, or all do.
    """
    require_names(run, pattern)
    run.claim()
    stored = opened(run, whole=True)
    gone = np.array([fnmatch.fnmatchcase(name, pattern) for name in stored.index.names])
    _replace(run, reduced(stored.index, gone), manifest=stored.manifest, removed=int(gone.sum()))
    return int(gone.sum())


def _absolute(items: Embeddings, pictures: Sequence[Path | None]) -> Embeddings:
    """Return the items with pictures under their absolute paths, which are found from anywhere."""
    names = [
        name if picture is None else picture.resolve().as_posix()
        for name, picture in zip(items.names, pictures, strict=True)
    ]
    return Embeddings(items.features, items.pids, items.camids, names)


def _labels_there(
    index: GalleryIndex, new: Gathered, *, named: dict[str, dict[int, str]]
) -> tuple[dict[str, Any], LabelNames]:
    """Return the new items' identities and cameras as the index numbers them, and their names.

    named: the text of an option by the number that stands for it.
    """
    pictures = np.array([one is not None for one in new.pictures])
    found, listed = dict[str, np.ndarray](), dict[str, Sequence[str]]()
    for kind, what in (("pids", "identities"), ("camids", "cameras")):
        own, names = getattr(new.embeddings, kind).copy(), getattr(index.labels, kind)
        option = {number: text for number, text in named[kind].items() if number >= NAME}
        of_files = dict(enumerate(getattr(new.labels, kind)))
        for rows, called in ((~pictures, of_files | option), (pictures, option)):
            own[rows], names = joined_labels(
                getattr(index, kind), names, new=own[rows], called=called, what=what
            )
        found[kind], listed[kind] = own, names
    return found, LabelNames(**listed)


def _require_new(names: Sequence[str], there: Sequence[str]) -> None:
    twice = sorted(set(names) & set(there))
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        listed = ", ".join(twice[:3]) + ("…" if len(twice) > 3 else "")
        raise BadInput(
            f"in the index already, or given twice: {len(twice)} of the names ({listed}); take "
            f"them out first with: {command_line('index remove', 'NAME')}"
        )


def _replace(
    run: Run,
    index: GalleryIndex,
    *,
    manifest: Manifest,
    folders: Sequence[str] = (),
    **changes: int,
) -> None:
    with run.writing(manifest) as (path, facts):
        facts.update({name: manifest.facts[name] + count for name, count in changes.items()})
        facts["folders"] = sorted({*facts.get("folders", ()), *folders})
        save_index(path, index)
