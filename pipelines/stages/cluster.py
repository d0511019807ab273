"""embeddings.h5 (+ refined.h5), index.h5, or files of embeddings -> clusters.csv: who is who"""

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ..artifacts.cluster_files import Members, read_members, write_members
from ..artifacts.manifest import Manifest
from ..artifacts.moved import pictures_root
from ..artifacts.run import Run, require_run, writing_stage
from ..clustering.agreement import Agreement
from ..clustering.names import PLAIN, REFINED, require_method
from ..clustering.threshold import Chosen
from ..config import ClusterConfig, as_table
from ..errors import BadInput
from ..evaluation.cluster_sources import Source, of_files, of_index, of_run
from ..evaluation.clustering import Asked, find
from ..files import file_digest
from ..flow import command_line
from ..progress import Progress, Silent
from ..reporting.clusters_page import write_clusters_page
from .early import only_index

ARTIFACT, STAGE, PAGE = "clusters.csv", "cluster", "clusters.html"


@dataclass(frozen=True, eq=False)
class Clustered:
    """A clustering, as it lies in clusters.csv and its manifest.

    embeddings: plain or refined.   method: of METHODS.   agreement: None where no label is known.
    inputs:     what it was made from, by name.
    folders:    that the names of pictures start from, "" where that is not known.
    again:      the command that reads the table back once it is edited.
    """

    path: Path
    members: Members
    embeddings: str
    method: str
    chosen: Chosen
    agreement: Agreement | None
    notes: Sequence[str]
    inputs: dict[str, str]
    folders: Sequence[str]
    again: str

    @property
    def identities(self) -> int:
        """The number of clusters."""
        return int(self.members.identity.max(initial=-1)) + 1

    def to_json(self) -> str:
        """Return the summary and every identity as one JSON object."""
        members = self.members
        sizes = np.bincount(members.identity, minlength=self.identities)
        sure = np.bincount(members.identity, members.confidence, minlength=self.identities)
        medoids = np.flatnonzero(members.representative)
        clusters = [
            {
                "identity": int(members.identity[row]),
                "name": members.called.get(int(members.identity[row])),
                "rows": int(sizes[members.identity[row]]),
                "representative": members.names[row],
                "confidence": round(
                    float(sure[members.identity[row]] / sizes[members.identity[row]]), 4
                ),
            }
            for row in medoids.tolist()
        ]
        return json.dumps(
            {
                "rows": len(members.names),
                "identities": self.identities,
                "method": self.method,
                "embeddings": self.embeddings,
                "threshold": self.chosen.threshold,
                "chosen_by": self.chosen.by,
                "chosen_score": self.chosen.score,
                "agreement": None if self.agreement is None else asdict(self.agreement),
                "notes": list(self.notes),
                "clusters": clusters,
                "csv": str(self.path),
            },
            ensure_ascii=False,
        )


def cluster(
    run: Run,
    *,
    index: Path | None = None,
    files: Sequence[str | os.PathLike[str]] = (),
    config: ClusterConfig = ClusterConfig(),
    asked: Asked = Asked(),
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = Silent(),
) -> Clustered:
    """Find out which rows show one identity, without labels, and write clusters.csv.

    run:   whose query and gallery are clustered, or where it has none the items of its index; or,
           with an index or files, the folder that clusters.csv is written to.
    index: an index.h5, whose items are clustered instead.   files: of embeddings, likewise.

    Results are replaced where the settings differ, unless a person has changed the file meanwhile.
    What was decided by hand in it and read back stays, unless another edited table is given or
    `overwrite` is.

    Raises:
        MissingArtifact, StaleArtifact: embeddings.h5, refined.h5 or the index.
        BadInput: an unknown method or one whose package is not there, constraints that name no
            row or contradict each other, a clusters.csv that was edited and not read back.
    """
    require_run(run, "cluster")
    require_method(config.method)
    return cluster_run(
        run,
        index=index,
        files=[Path(file) for file in files],
        config=config,
        asked=asked,
        device=device,
        overwrite=overwrite,
        progress=progress,
    )


@writing_stage
def cluster_run(
    run: Run,
    *,
    index: Path | None,
    files: Sequence[Path],
    config: ClusterConfig,
    asked: Asked,
    device: str,
    overwrite: bool,
    progress: Progress,
) -> Clustered:
    """Do what `cluster` does, as the run's only writer."""
    anew = overwrite or _edited(run, asked.edited)  # before anything is loaded
    if not overwrite:
        asked = _with_decisions(run, asked, progress=progress)
    source = _source(run, index=index, files=files, config=config, device=device, progress=progress)
    wanted = Manifest(ARTIFACT, STAGE, as_table(config) | asked.as_table(), source.inputs)
    if not anew and run.holds(wanted):
        progress.message(f"{run.path(ARTIFACT)} is up to date")
        return _stored(run, source)
    run.claim()
    found = find(source, config=config, asked=asked, device=device, progress=progress)
    with run.writing(wanted) as (path, facts):
        facts.update(
            embeddings=found.embeddings,
            chosen=asdict(found.chosen),
            agreement=None if found.agreement is None else asdict(found.agreement),
            rows=len(found.members.names),
            identities=int(found.members.identity.max()) + 1,
            notes=list(found.notes),
        )
        write_members(path, found.members)
    return _clustered(run, source, members=found.members)


def _source(
    run: Run,
    *,
    index: Path | None,
    files: Sequence[Path],
    config: ClusterConfig,
    device: str,
    progress: Progress,
) -> Source:
    if index is not None and files:
        raise BadInput("--index and files of embeddings are two things to cluster; give one")
    if index is None and not files:
        index = only_index(run)
    if index is not None:
        from .index import ARTIFACT as INDEX
        from .index import opened

        holder = Run(index.parent)
        if index.name != INDEX:
            raise BadInput(f"--index {index}: wanted the {INDEX} of a run")
        stored = opened(holder, whole=True)
        inputs = stored.manifest.inputs | {INDEX: stored.manifest.sha256}
        source = of_index(stored.index, run=holder, inputs=inputs)
    elif files:
        source = of_files(files, progress=progress)
    else:
        source = of_run(
            run, refined=_refine(run, config, device=device, progress=progress), progress=progress
        )
    if config.embeddings == REFINED and source.refined is None:
        raise BadInput(
            "--embeddings refined: nothing refined these embeddings; train what does with: nformer "
            "train-nformer, or cluster them as they are"
        )
    if len(source.items) < 2:
        raise BadInput(f"{len(source.items)} rows; at least two are needed to cluster")
    return source


def _refine(run: Run, config: ClusterConfig, *, device: str, progress: Progress) -> bool:
    """Return whether refined.h5 is to be used, after making it where nothing current is there."""
    if config.embeddings == PLAIN or run.manifest("nformer.pt") is None:
        return False
    if run.manifest("refined.h5") is None or run.changed_inputs("refined.h5"):
        from ..evaluation.sets import has_items, labelled
        from .refine import refine_run

        if not has_items(run):
            return False  # nothing to cluster, as is said where the rows are read
        if not labelled(run):
            progress.warn(
                "no row's identity is known, and nformer refine leaves such rows out: the "
                "embeddings are clustered as they are. To refine them too: nformer index, then "
                "nformer cluster --index"
            )
            return False
        refine_run(run, device=device, progress=progress)
    return True


def _edited(run: Run, edited: Path | None) -> bool:
    """Return whether clusters.csv was changed by hand; BadInput unless that file is read back."""
    path, manifest = run.path(ARTIFACT), run.manifest(ARTIFACT)
    if manifest is None or file_digest(path) == manifest.sha256:
        return False
    if edited is not None and edited.resolve() == path.resolve():
        return True
    raise BadInput(
        f"{path} was changed since it was written; read what was decided there with --edited "
        f"{path}, or move it elsewhere"
    )


def _with_decisions(run: Run, asked: Asked, *, progress: Progress) -> Asked:
    """Return what is asked, with what clusters.csv holds of a person's decisions, if no other
    table does.
    """
    path = run.path(ARTIFACT)
    if asked.edited is not None or run.manifest(ARTIFACT) is None:
        return asked
    decided = int(read_members(path).confirmed.sum())
    if not decided:
        return asked
    progress.message(
        f"{decided:,} rows were decided by hand in {path} and stay so; --overwrite forgets them"
    )
    return replace(asked, edited=path)


def write_page(
    found: Clustered, *, root: Path | None = None, progress: Progress = Silent()
) -> tuple[Path, str]:
    """Write clusters.html beside clusters.csv; return it, and which pictures are missing, or "".

    root: the folder that the rows' names start from now; None: as told last, or where they were.
    """
    folders = list(found.folders)
    folders[0] = pictures_root(
        Run(found.path.parent),
        {"root": folders[0]},
        told=root,
        names=found.members.names,
        progress=progress,
    )
    lines = [
        f"Method {found.method}, {found.embeddings} embeddings, threshold "
        f"{found.chosen.threshold:.3f}: {found.chosen}.",
        *found.notes,
    ]
    if found.agreement is not None:
        agreed = found.agreement
        lines.append(
            f"Against {agreed.identities:,} known identities of {agreed.rows:,} rows, in %: ARI "
            f"{100 * agreed.ari:.1f}, BCubed F {100 * agreed.bcubed:.1f}."
        )
    path = found.path.with_name(PAGE)
    missing = write_clusters_page(
        path,
        found.members,
        folders=folders,
        lines=lines,
        csv=found.path.name,
        command=found.again,
    )
    return path, missing


def _stored(run: Run, source: Source) -> Clustered:
    return _clustered(run, source, members=read_members(run.path(ARTIFACT)))


def _clustered(run: Run, source: Source, *, members: Members) -> Clustered:
    manifest = run.require_manifest(ARTIFACT)
    facts, agreed = manifest.facts, manifest.facts["agreement"]
    return Clustered(
        run.path(ARTIFACT),
        members,
        facts["embeddings"],
        manifest.config["method"],
        Chosen(**facts["chosen"]),
        None if agreed is None else Agreement(**agreed),
        facts["notes"],
        manifest.inputs,
        [source.root, *source.folders],
        _again(run, source),
    )


def _again(run: Run, source: Source) -> str:
    """Return the command that reads the run's clusters.csv back."""
    edited = ("--edited", str(run.path(ARTIFACT)))
    if not source.typed:
        return command_line("cluster", *edited, run=run.folder)
    return shlex.join(["nformer", "cluster", *source.typed, "--out", str(run.folder), *edited])
