"""A run, an index or files of embeddings -> the rows to cluster, and what is known beside them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..artifacts.embeddings import load_embeddings, open_embeddings, splits_in
from ..artifacts.formats.reading import read_embedding_files
from ..artifacts.formats.split import FileSplit
from ..artifacts.run import Run
from ..embeddings import COLUMNS, Embeddings
from ..errors import BadInput
from ..files import file_digest
from ..progress import Progress

if TYPE_CHECKING:
    from ..gallery.index import GalleryIndex
    from ..refiners.domain_shift import Domain

TESTED = ("query", "gallery")


@dataclass(frozen=True, eq=False)
class Source:
    """The rows to cluster.

    plain:   as the network made them; None where only the refined ones are kept.
    refined: the same rows refined; None where nothing refined them.
    train:   training identities, which a threshold can be calibrated on; None without any.
    run:     the run whose nformer.pt refined them.
    gallery: the rows that were read to refine them; None: all of them.
    strangers: whether the rows show other people than `train` does.
    members: the pictures that each row is made of, a line each; nothing where no row is a tracklet.
    root, folders: where the pictures named lie.
    domain:  whether the rows look like `train`, as it was found when they were refined.
    typed:   how the command is given what is no run's rows.
    """

    plain: Embeddings | None
    refined: Embeddings | None
    inputs: dict[str, str]
    train: Embeddings | None = None
    run: Run | None = None
    gallery: Embeddings | None = None
    strangers: bool = True
    members: Sequence[str] = ()
    root: str = ""
    folders: Sequence[str] = field(default=())
    domain: "Domain | None" = None
    typed: Sequence[str] = ()

    @property
    def items(self) -> Embeddings:
        """The rows, of whichever kind there is."""
        found = self.plain if self.plain is not None else self.refined
        assert found is not None
        return found


def of_run(run: Run, *, refined: bool, progress: Progress) -> Source:
    """Return a run's query and gallery as one set; as refined.h5 has them too, where asked for.

    Raises:
        MissingArtifact, StaleArtifact: embeddings.h5 or refined.h5.
    """
    path, inputs = run.artifact("embeddings.h5"), {"embeddings.h5": run.digest("embeddings.h5")}
    parts, facts = _tested(path), run.facts("embeddings.h5")
    plain, gallery, after, domain = joined(parts), parts[-1], None, None
    if refined:
        from ..refiners.domain_shift import Domain

        after = joined(_tested(run.artifact("refined.h5")))
        inputs["refined.h5"] = run.digest("refined.h5")
        found = run.facts("refined.h5").get("domain")
        domain = None if found is None else Domain(found["shift"], found["assume"])
        if len(after) < len(plain):
            progress.warn(
                f"{len(plain) - len(after):,} of {len(plain):,} rows are junk (pid -1), which "
                "refined.h5 leaves out, and are not clustered; --embeddings plain takes them too"
            )
            plain, gallery = plain.without_junk(), gallery.without_junk()
    train = _train(path)
    others = train is None or set(train.names).isdisjoint(plain.names)  # wildlife's are the same
    root = str(facts.get("root") or "")
    return Source(
        plain,
        after,
        inputs,
        train=train,
        run=run,
        gallery=gallery,
        strangers=others,
        root=root,
        domain=domain,
    )


def of_index(index: "GalleryIndex", *, run: Run, inputs: dict[str, str]) -> Source:
    """Return an index's items, refined where it holds them so; run: the one that it lies in."""
    labels = (np.array(index.pids), np.array(index.camids), [*index.names])
    plain = Embeddings(index.plain.cpu().numpy(), *labels)
    refined = plain.with_features(index.rows.cpu().numpy()) if index.refined_by else None
    facts, source = run.facts("index.h5"), run.path("embeddings.h5")
    known = "embeddings.h5" in inputs and source.exists()
    return Source(
        plain,
        refined,
        inputs,
        train=_train(source) if known else None,
        run=run,
        members=index.members,
        root=str(facts.get("root") or ""),
        folders=facts.get("folders", []),
        typed=("--index", str(run.path("index.h5"))),
    )


def of_files(files: Sequence[Path], *, progress: Progress) -> Source:
    """Return the rows of files of embeddings; a train split beside others is for the threshold.

    Raises:
        BadInput: no such files, of an unknown kind, or not what their names say.
    """
    found = read_embedding_files(files, progress.warn, labelled=False)
    tested = [name for name in ("", *TESTED) if name in found] or ["train"]
    train = None
    if "train" in found and tested != ["train"]:
        train = _joined(found["train"], prefix="train/").without_junk()
    parts = [_joined(found[name], prefix=f"{name}/" if name else "") for name in tested]
    inputs = {path.name: file_digest(path) for path in files if path.is_file()}
    typed = tuple(map(str, files))
    return Source(joined(parts), None, inputs, train=train or None, typed=typed)


def joined(parts: Sequence[Embeddings]) -> Embeddings:
    """Return sets one after the other.

    Raises:
        BadInput: their widths differ.
    """
    if len(parts) == 1:
        return parts[0]
    if len({part.dim for part in parts}) > 1:
        widths = ", ".join(str(part.dim) for part in parts)
        raise BadInput(f"the embeddings differ in width: {widths}; those of one network do not")
    columns = [name for name in COLUMNS if all(name in part.columns for part in parts)]
    return Embeddings(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.pids for part in parts]),
        np.concatenate([part.camids for part in parts]),
        [name for part in parts for name in part.names],
        {name: np.concatenate([part.columns[name] for part in parts]) for name in columns},
    )


def _tested(path: Path) -> list[Embeddings]:
    """Return query and gallery; the gallery alone where both are the same items."""
    with open_embeddings(path) as file:
        splits = [name for name in TESTED if name in splits_in(file)]
        if not splits:
            raise BadInput(f"{path} has no query and no gallery; nothing is there to cluster")
        if len(splits) == 2 and file["query"] == file["gallery"]:
            splits = ["gallery"]
    parts = [load_embeddings(path, name) for name in splits]
    if len(parts) == 2 and set(parts[0].names) <= set(parts[1].names):
        parts = parts[1:]
    return parts


def _train(path: Path) -> Embeddings | None:
    with open_embeddings(path) as file:
        if "train" not in splits_in(file):
            return None
    return load_embeddings(path, "train").without_junk() or None


def _joined(splits: Sequence[FileSplit], *, prefix: str) -> Embeddings:
    return joined([_whole(split, prefix) for split in splits])


def _whole(split: FileSplit, prefix: str) -> Embeddings:
    camids = np.full(len(split), -1) if split.camids is None else split.camids
    pids = split.pids if split.labelled else np.full(len(split), -1)
    numbered = (f"{prefix}{row:07d}" for row in range(len(split)))
    names = list(numbered if split.names is None else split.names())
    features: Any = np.empty((len(split), split.dim), np.float32)
    done = 0
    for block in split.blocks():
        features[done : done + len(block)] = block
        done += len(block)
    return Embeddings(features, pids, camids, names, dict(split.columns))
