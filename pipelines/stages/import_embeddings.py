"""other programs' embeddings, in any of seven formats -> embeddings.h5"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..artifacts.embeddings import EXACT, create_embeddings, create_split
from ..artifacts.formats.npy_folder import vectors
from ..artifacts.formats.reading import kinds_of, read_embedding_files
from ..artifacts.formats.split import FileSplit
from ..artifacts.manifest import Manifest
from ..artifacts.run import Run, writing_stage
from ..data.catalogue import rules_of
from ..embeddings import COLUMNS
from ..errors import BadInput
from ..files import file_digest, text_digest
from ..progress import Progress, Silent
from ..ranking.rules import AUTO, rules_named

if TYPE_CHECKING:
    import h5py

ARTIFACT, STAGE = "embeddings.h5", "import-embeddings"


@writing_stage
def import_embeddings(
    run: Run,
    files: Sequence[str | os.PathLike[str]],
    *,
    dataset: str = "",
    root: str | os.PathLike[str] = "",
    rules: str = "",
    drop_bad: bool = False,
    overwrite: bool = False,
    progress: Progress = Silent(),
) -> Path:
    """Bring embeddings from .npz, .npy + .csv, .parquet, .pt, .mat or .h5 into a run.

    Every file is read twice in blocks, to check it and to copy it, and never held whole.

    files:    one or more; parts of one split in several files follow each other in this order.
    root:     the folder below which the names are images, for reports and pictures.
    rules:    whom a query is compared with, by name; "": as usual for the data set. Where a query
              does not find itself and the files have no query, every gallery item is one.
    drop_bad: leave out rows that are NaN, infinite, too large for float32 or all zero; without it
              they are refused.

    Raises:
        BadInput: a file that is not what its name says, labels of another length, widths that
            differ, bad rows, a name that stands in query and gallery, no space left.
        StaleArtifact: the run holds other embeddings, and `overwrite` is not given.
    """
    sources = [Path(file) for file in ([files] if isinstance(files, str | os.PathLike) else files)]
    _require_other_files(run, sources)
    known = rules_named(rules if rules not in ("", AUTO) else rules_of(dataset))
    config = {"dataset": dataset, "root": str(root), "drop_bad": drop_bad}
    if rules:
        config["rules"] = known.name
    wanted = Manifest(ARTIFACT, STAGE, config, _digests(sources))
    if run.is_current(wanted, overwrite=overwrite):
        progress.message(f"{run.path(ARTIFACT)} is up to date")
        return run.path(ARTIFACT)
    found = read_embedding_files(sources, progress.warn)
    splits = [ImportedSplit(name, parts) for name, parts in found.items()]
    widths = {f"{part.path.name} {part.split}": part.dim for s in splits for part in s.parts}
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{where} {width}" for where, width in widths.items())
        raise BadInput(f"the embeddings differ in width: {listed}; those of one network do not")
    _require_separate_names(splits, progress, shared=known.skips_itself)
    for split in splits:
        progress.message(split.describe())
    _compare_identities(splits, progress)
    if "gallery" not in found:
        progress.warn(
            f"there is no gallery among them ({', '.join(found)}): NFormer can be trained on them, "
            "but nothing ranked or searched. Give gallery_features, and query_features to evaluate"
        )
    kept = [_good_rows(split, drop_bad=drop_bad, progress=progress) for split in splits]
    with run.writing(wanted) as (temporary, facts):
        facts.update(_facts(splits, kept, dataset=dataset, root=root), rules=known.name)
        with create_embeddings(
            temporary, dim=splits[0].dim, dataset=dataset, labels=splits[0].parts[0].label_names
        ) as file:
            for split, rows in zip(splits, kept, strict=True):
                _write(file, split, keep=rows, progress=progress)
            if known.skips_itself and "query" not in found and "gallery" in found:
                file["query"] = file["gallery"]
                progress.message(f"rules {known.name}: every gallery item is a query too")
    return run.path(ARTIFACT)


@dataclass(frozen=True)
class ImportedSplit:
    """The parts of one split, one after the other."""

    name: str
    parts: list[FileSplit]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @property
    def dim(self) -> int:
        """The width of the features."""
        return self.parts[0].dim

    @property
    def pids(self) -> np.ndarray:
        """The persons [N]."""
        return np.concatenate([part.pids for part in self.parts])

    @property
    def camids(self) -> np.ndarray:
        """The cameras [N]; -1 where they are not known."""
        known = [part.camids for part in self.parts]
        parts = zip(self.parts, known, strict=True)
        return np.concatenate([np.full(len(p), -1) if ids is None else ids for p, ids in parts])

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The further labels [N] that some part has, by name; -1 where they are not known."""
        known = [name for name in COLUMNS if any(name in part.columns for part in self.parts)]
        return {
            name: np.concatenate(
                [part.columns.get(name, np.full(len(part), -1)) for part in self.parts]
            )
            for name in known
        }

    def names(self) -> Iterator[str]:
        """Yield each row's name; without names in the file, its split and row."""
        start = 0
        for part in self.parts:
            if part.names is None:
                yield from (f"{self.name}/{row:07d}" for row in range(start, start + len(part)))
            yield from part.names() if part.names else ()
            start += len(part)

    @property
    def exact(self) -> bool:
        """Whether float32 would not hold the features as they came."""
        return any(part.dtype.lstrip("<>=|") == "float64" for part in self.parts)

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the features as they came, [n, dim] a block."""
        for part in self.parts:
            yield from part.blocks()

    def describe(self) -> str:
        """Return what was found, in a line."""
        types = "/".join(sorted({part.dtype for part in self.parts}))
        people, junk = len(np.unique(self.pids[self.pids >= 0])), int((self.pids < 0).sum())
        cameras = len(np.unique(self.camids[self.camids >= 0]))
        unknown = int((self.camids < 0).sum())
        who = "1 identity" if people == 1 else f"{people:,} identities"
        seen = f"{cameras} camera{'s' * (cameras > 1)}"
        return (
            f"{self.name}: {len(self):,} × {self.dim} {types}, {who}, "
            + (seen if cameras else "no camera ids: the same-camera rule is off")
            + (f", the camera of {unknown:,} rows unknown" if cameras and unknown else "")
            + (f", {junk:,} rows of nobody (negative pid, kept)" if junk else "")
            + (f", with {', '.join(self.columns)}" if self.columns else "")
            + ("" if all(part.names for part in self.parts) else ", no names: numbered")
        )


def _require_other_files(run: Run, sources: list[Path]) -> None:
    if not sources:
        raise BadInput("no file given; name one or more files of embeddings")
    kinds_of(sources)
    for source in sources:
        if run.path(ARTIFACT).exists() and source.samefile(run.path(ARTIFACT)):
            raise BadInput(f"{source} is this run's own {ARTIFACT}; choose another --run")


def _digests(sources: list[Path]) -> dict[str, str]:
    """Return the files' digests under names that no artifact of the run can have."""
    digests = {f"file {n}: {path.name}": _digest(path) for n, path in enumerate(sources, 1)}
    if len(set(digests.values())) < len(digests):
        listed = ", ".join(map(str, sources))
        raise BadInput(f"the same content is given twice: {listed}; give each file once")
    return digests


def _digest(source: Path) -> str:
    """Return a file's digest, or that of a folder's tables and vectors with their names."""
    if not source.is_dir():
        return file_digest(source)
    files = [*vectors(source), *sorted(source.glob("*.csv"))]
    return text_digest(*(f"{path.relative_to(source)} {file_digest(path)}" for path in files))


def _compare_identities(splits: list[ImportedSplit], progress: Progress) -> None:
    pids = {split.name: split.pids for split in splits}
    test = [pids[name] for name in ("query", "gallery") if name in pids]
    if "train" not in pids or not test:
        return
    shared = np.intersect1d(pids["train"], np.concatenate(test))
    shared = shared[shared >= 0]
    if len(shared):
        listed = ", ".join(map(str, shared[:5])) + ("…" if len(shared) > 5 else "")
        progress.warn(
            f"{len(shared):,} training identities are in query or gallery too ({listed}). If "
            "they are the same people, results will be better than on new people. If train is "
            "numbered separately, ignore this"
        )


def _good_rows(split: ImportedSplit, *, drop_bad: bool, progress: Progress) -> np.ndarray:
    """Return [N] bool, which rows can be used; refuse the others unless they may be dropped."""
    lengths = np.empty(len(split), np.float32)  # squared
    done = 0
    with progress.task(f"check {split.name}", len(split), unit="rows") as task:
        for block in map(_single, split.blocks()):
            with np.errstate(over="ignore", invalid="ignore"):
                lengths[done : done + len(block)] = np.einsum("nd,nd->n", block, block)
            done += len(block)
            task.advance(len(block))
    assert done == len(split)
    infinite, zero = ~np.isfinite(lengths), lengths == 0
    reasons = []
    for rows, what in (
        (np.flatnonzero(infinite), "hold NaN, infinite or too large values"),
        (np.flatnonzero(zero), "are all zero and have no direction"),
    ):
        if len(rows):
            listed = ", ".join(map(str, rows[:5])) + ("…" if len(rows) > 5 else "")
            reasons.append(f"{len(rows):,} {what} (rows {listed})")
    where = f"{split.parts[0].path}, split {split.name}"
    if reasons and not drop_bad:
        raise BadInput(
            f"{where}: of {len(split):,} rows {' and '.join(reasons)}; leave them out with "
            "--drop-bad, or look at the network that made them"
        )
    if (infinite | zero).all():
        raise BadInput(f"{where}: of {len(split):,} rows {' and '.join(reasons)}; none is left")
    if reasons:
        progress.warn(f"{split.name}: dropped {' and '.join(reasons)}")
    return ~(infinite | zero)


def _require_separate_names(
    splits: list[ImportedSplit], progress: Progress, *, shared: bool
) -> None:
    """Refuse names that stand in query and in gallery; say which stand twice in a split.

    shared: whether the rules leave a query out of its own list, so that it may stand in both.

    Names are compared by 64-bit hashes, 8 bytes each, and looked up where hashes agree.
    """
    hashes = [np.fromiter(map(hash, split.names()), np.int64, len(split)) for split in splits]
    tested = [number for number, split in enumerate(splits) if split.name != "train"]
    if len(tested) == 2 and not shared:
        common = np.intersect1d(hashes[tested[0]], hashes[tested[1]])
        query, gallery = (_names_with(splits[number], common) for number in tested)
        if names := query & gallery:
            raise BadInput(
                f"{len(names):,} names stand in query and in gallery ({_some(names)}): a query "
                "must not find itself; take them out of one, or put their folder before them"
            )
    for split, of_split in zip(splits, hashes, strict=True):
        unique, counts = np.unique(of_split, return_counts=True)
        if names := _names_with(split, unique[counts > 1]):
            progress.warn(
                f"{split.name}: {len(names):,} names stand more than once ({_some(names)})"
            )


def _names_with(split: ImportedSplit, keys: np.ndarray) -> set[str]:
    wanted = set(keys.tolist())
    return {name for name in split.names() if hash(name) in wanted} if wanted else set()


def _some(names: Iterable[str]) -> str:
    chosen = sorted(names)
    return ", ".join(chosen[:3]) + ("…" if len(chosen) > 3 else "")


def _write(
    file: "h5py.File", split: ImportedSplit, *, keep: np.ndarray, progress: Progress
) -> None:
    labels: dict[str, Any] = {"pids": split.pids[keep], "camids": split.camids[keep]}
    labels["columns"] = {name: values[keep] for name, values in split.columns.items()}
    names = compress(split.names(), keep)
    group = create_split(file, split.name, names=names, exact=split.exact, **labels)
    read = written = 0
    with progress.task(f"import {split.name}", len(split), unit="rows") as task:
        for block in split.blocks():
            rows = block[keep[read : read + len(block)]]
            group["features"][written : written + len(rows)] = _single(rows)
            if split.exact:
                group[EXACT][written : written + len(rows)] = rows
            read, written = read + len(block), written + len(rows)
            task.advance(len(block))


def _single(block: np.ndarray) -> np.ndarray:
    """Return features as float32; what does not fit becomes infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(block, dtype=np.float32)


def _facts(
    splits: list[ImportedSplit], kept: list[np.ndarray], *, dataset: str, root: Any
) -> dict[str, Any]:
    facts: dict[str, Any] = {"dataset": dataset, "dim": splits[0].dim}
    facts["root"] = str(Path(root).absolute()) if str(root) else ""
    types = {part.dtype for split in splits for part in split.parts}
    facts["source_dtype"] = "/".join(sorted(types))
    for split, rows in zip(splits, kept, strict=True):
        pids, camids = split.pids[rows], split.camids[rows]
        for what, count in (
            ("counts", int(rows.sum())),
            ("dropped", int((~rows).sum())),
            ("identities", len(np.unique(pids[pids >= 0]))),
            ("cameras", len(np.unique(camids[camids >= 0]))),
        ):
            facts.setdefault(what, {})[split.name] = count
    return facts
