"""The run folder: the only state between stages, each file with its manifest."""

import dataclasses
import functools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from ..blocks import BlockedFile, block_digests
from ..embeddings import kind_of
from ..errors import BadInput, MissingArtifact, StaleArtifact
from ..files import file_digest, named_disk_errors, no_file, remove_left_over, replacing, write_text
from ..flow import AT_WORK, remake_command
from ..processes import rank
from ..progress import Progress, Silent
from . import lock
from .manifest import Manifest
from .unfinished import purpose_of, unfinished_in, unfinished_other

SCRATCH = ".unfinished"
MAPPED = ("index.h5", "images.h5")  # too large to be read whole before their first use
Options = ParamSpec("Options")
Result = TypeVar("Result")


class Run:
    """A folder of artifacts. `run.artifact("embeddings.h5")` is a file that can be trusted.

    A file counts only with its manifest, NAME.json, which is written last.
    """

    def __init__(self, folder: str | os.PathLike[str] = "runs/default") -> None:
        self.folder = Path(folder).expanduser()  # of NFORMER_RUN no shell has
        found = no_file(self.folder) or "is a file"
        if found not in ("is a folder", "is not there", "is a link that leads nowhere"):
            raise BadInput(f"--run {self.folder} {found}; a run is a folder")
        self._verified: dict[str, tuple[int, int, str]] = {}
        self._first_stamps: dict[str, int] = {}  # of manifests, when first looked at

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    def path(self, name: str) -> Path:
        """Return where the artifact `name` lies, or would lie."""
        return self.folder / name

    def manifest_path(self, name: str) -> Path:
        """Return where the manifest of `name` lies, or would lie."""
        return self.folder / f"{name}.json"

    def manifest(self, name: str) -> Manifest | None:
        """Return the manifest of `name`, or None when there is no such artifact."""
        if not self.path(name).exists():
            return None
        path, pending = self.manifest_path(name), self._pending(name)
        if pending.exists():  # a writer is at its last step, or was killed there
            new = Manifest.read(pending)
            size = self.path(name).stat().st_size
            if size == new.bytes and file_digest(self.path(name)) == new.sha256:
                with suppress(OSError):
                    os.replace(pending, path)
                return new
        return Manifest.read(path) if path.exists() else None

    def artifact(self, name: str) -> Path:
        """Return the path of an artifact after checking that it is whole and not stale.

        Raises:
            MissingArtifact: it or its manifest is not there; names the command that makes it.
            BadInput: its bytes are not those its manifest records.
            StaleArtifact: something it was made from has changed since.
        """
        self.require_manifest(name)
        self.require_whole(name)
        changed = self.changed_inputs(name)
        if changed:
            raise StaleArtifact(
                f"{self.path(name)} was made from another {' and another '.join(changed)} than the "
                f"one there now; remake it with: {self._remake(name)} --overwrite"
            )
        return self.path(name)

    def mapped(self, name: str) -> tuple[BlockedFile, Manifest]:
        """Open an artifact whose blocks are checked when they are first touched, and its manifest.

        One of an earlier version, whose manifest has no digests of blocks, is read whole. Whether
        it is stale is left to the caller.

        Raises:
            MissingArtifact: it or its manifest is not there; names the command that makes it.
            BadInput: it is damaged; from what is opened too, once a damaged block is touched.
        """
        manifest = self.require_manifest(name)
        try:
            if not manifest.block_sums:
                self.require_whole(name)
            self._require_size(name, manifest)
            remedy = f"remake it with: {self._remake(name)} --overwrite"
            file = BlockedFile(self.path(name), digests=manifest.block_sums, remedy=remedy)
        except BadInput:
            if self.manifest(name) == manifest:
                raise
        if self.manifest(name) != manifest:
            return self.mapped(name)  # it was replaced meanwhile
        return file, manifest

    def require_manifest(self, name: str) -> Manifest:
        """Return the manifest of `name`; MissingArtifact, naming its command, without one."""
        manifest = self.manifest(name)
        if manifest is None:
            raise MissingArtifact(self.missing(name))
        return manifest

    def missing(self, name: str) -> str:
        """Return what to say where `name` is not there: why, and the command that makes it."""
        kept, path = unfinished_in(self.folder / SCRATCH / name), self.path(name)
        if kept is not None:
            go_on = kept.go_on(otherwise=self._remake(name))
            return f"{path} was interrupted at {kept}; {go_on}"
        gone = "" if self.folder.exists() else ", nor is its folder (--run)"
        return f"{path} is not there{gone}; make it with: {self._remake(name)}"

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a checked artifact: what the next stage's manifest records."""
        self.artifact(name)
        return self.require_manifest(name).sha256

    def changed_inputs(self, name: str) -> list[str]:
        """Return the inputs of `name` in this folder that are not those it was made from."""
        manifest = self.manifest(name)
        if manifest is None:
            return []
        changed = []
        for source, digest in manifest.inputs.items():
            now = self.manifest(source)
            if now is not None and (now.sha256 != digest or self._changed_since(source)):
                changed.append(source)
        return changed

    def _changed_since(self, source: str) -> list[str]:
        """Return the changed inputs of an input; another run's, ../NAME, are as seen from there."""
        if not source.startswith(".."):
            return self.changed_inputs(source)
        path = self.path(source)
        return Run(path.parent).changed_inputs(path.name)

    def facts(self, name: str) -> dict[str, Any]:
        """Return the facts recorded with an artifact that exists."""
        return self.require_manifest(name).facts

    def is_current(self, wanted: Manifest, *, overwrite: bool = False, purpose: str = "") -> bool:
        """Return whether `wanted` is on disk already, whole; if not, this stage is to write it.

        purpose: of what is kept of its interrupted work, where it is not that of `purpose_of`.

        Raises:
            StaleArtifact: another artifact stands there, and `overwrite` is not given.
            BadInput: another process writes in this run.
        """
        if not overwrite and self._stands(wanted):
            folder = self.folder / SCRATCH / wanted.artifact
            other = unfinished_other(folder, purpose=purpose or purpose_of(wanted))
            if folder.exists() and other is None:
                with suppress(BadInput):  # others are at work, or the disk is read-only
                    if self.claim(patience=0):
                        self.clear_scratch(wanted.artifact)
            return True
        self.claim()
        return not overwrite and self._stands(wanted)

    def up_to_date(self, name: str) -> str:
        """Return that `name` is up to date; and that another is unfinished, with its command."""
        kept, said = unfinished_in(self.folder / SCRATCH / name), f"{self.path(name)} is up to date"
        if kept is None:
            return said
        go_on = kept.go_on(otherwise=self._remake(name))
        return f"{said}; another, to replace it, is unfinished at {kept}: {go_on}"

    def is_shared_work_done(self, wanted: Manifest, *, overwrite: bool = False) -> bool:
        """As `is_current`, for a stage that several processes work on: none is its only writer.

        With `overwrite`, what another process has made since the first look is not made again.
        """
        path = self.manifest_path(wanted.artifact)
        stamp = path.stat().st_mtime_ns if path.exists() else 0
        first = self._first_stamps.setdefault(wanted.artifact, stamp)
        if overwrite:
            return stamp != first and self.holds(wanted)
        return self._stands(wanted)

    def claim(self, *, patience: float = lock.PATIENCE) -> bool:
        """Become this run's only writer until the end of the stage; False outside of a stage.

        What writers that were killed have left is removed. Looked at before, files may be others
        now: where another writer was waited for, the stage starts again.

        Raises:
            BadInput: another process writes here, or nobody may.
        """
        if not lock.claim(self.folder, patience=patience):
            return False
        remove_left_over(self.folder)
        for pending in self.folder.glob(".*.json.next"):
            self.manifest(pending.name[1 : -len(".json.next")])  # puts it in its place if it is
            pending.unlink(missing_ok=True)
        return True

    def tidy(self) -> None:
        """Remove what a writer that was killed has left, unless another is at work."""
        left = [path for path in self.folder.glob(".*") if path.suffix in (".tmp", ".next")]
        with suppress(BadInput):
            if left or (self.folder / lock.LOCK).exists():
                self.claim(patience=0)

    def _stands(self, wanted: Manifest) -> bool:
        """Return whether `wanted` is on disk, whole; StaleArtifact where another is."""
        found = self.manifest(wanted.artifact)
        differences = wanted.differences(found) if found else []
        if differences:
            keep = ", or --run DIR to keep both"
            if any(self.manifest(name) for name in wanted.inputs):  # another folder lacks these
                keep = f"; to keep both, replace it in a copy of {self.folder}: --run COPY"
            raise StaleArtifact(
                f"{self.path(wanted.artifact)} was made otherwise: {'; '.join(differences)}. "
                f"Add --overwrite to replace it{keep}"
            )
        return self.holds(wanted)

    def holds(self, wanted: Manifest) -> bool:
        """Return whether exactly `wanted` is on disk; BadInput when it is but is not whole."""
        found = self.manifest(wanted.artifact)
        if found is None or wanted.differences(found):
            return False
        self.require_whole(wanted.artifact)
        return True

    @contextmanager
    def writing(self, wanted: Manifest) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield a temporary path to write and a dictionary of facts to fill.

        When the block succeeds the file is flushed and renamed, and its manifest is renamed last:
        whatever ends this leaves the earlier artifact whole, or the new one.
        """
        self.claim()
        facts, pending = dict(wanted.facts), self._pending(wanted.artifact)
        with replacing(self.path(wanted.artifact)) as temporary:
            yield temporary, facts
            done = dataclasses.replace(
                wanted,
                sha256=file_digest(temporary),
                bytes=temporary.stat().st_size,
                block_sums=block_digests(temporary) if wanted.artifact in MAPPED else "",
                facts=facts,
            )
            write_text(pending, done.to_json())
        with suppress(FileNotFoundError):  # a reader found the two complete, and has renamed it
            os.replace(pending, self.manifest_path(wanted.artifact))

    def scratch(self, name: str) -> Path:
        """Return a folder for what a long stage needs to go on after an interruption."""
        self.claim()
        folder = self.folder / SCRATCH / name
        with named_disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def shared_scratch(self, name: str) -> Path:
        """Return such a folder for a stage that several processes may work on at once."""
        folder = self.folder / SCRATCH / name
        with named_disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def clear_scratch(self, name: str) -> None:
        """Remove a finished stage's resumable state."""
        shutil.rmtree(self.folder / SCRATCH / name, ignore_errors=True)
        parent = self.folder / SCRATCH
        if parent.exists() and not any(parent.iterdir()):
            parent.rmdir()

    def require_whole(self, name: str) -> None:
        """Raise BadInput where an artifact's bytes are not those that its manifest records."""
        path, manifest = self.path(name), self.require_manifest(name)
        status = path.stat()
        key = (status.st_size, status.st_mtime_ns, manifest.sha256)
        if self._verified.get(name) == key:
            return
        self._require_size(name, manifest)
        if file_digest(path) != manifest.sha256:
            raise BadInput(
                f"{path} is damaged or replaced: its content is not what its manifest records; "
                f"remake it with: {self._remake(name)} --overwrite"
            )
        self._verified[name] = key

    def _require_size(self, name: str, manifest: Manifest) -> None:
        path, size = self.path(name), self.path(name).stat().st_size
        if size != manifest.bytes:
            raise BadInput(
                f"{path} is cut or replaced: {size} bytes, its manifest records "
                f"{manifest.bytes}; remake it with: {self._remake(name)} --overwrite"
            )

    def _pending(self, name: str) -> Path:
        """Return where the manifest of a new `name` waits until the file is in its place."""
        return self.path(name).with_name(f".{Path(name).name}.json.next")

    def _remake(self, name: str) -> str:
        manifest = self.manifest(name)
        stage = "" if manifest is None else manifest.stage
        return remake_command(name, run=self.folder, stage=stage)


def require_run(run: Any, stage: str) -> None:
    """Raise BadInput where a stage is given something else than a Run, such as its folder."""
    if not isinstance(run, Run):
        folder = str(run) if isinstance(run, str | os.PathLike) else "runs/default"
        raise BadInput(
            f"{stage} is given {kind_of(run)}; a Run is wanted: {stage}(Run({folder!r}))"
        )


def writing_stage(
    stage: Callable[Concatenate[Run, Options], Result],
) -> Callable[Concatenate[Run, Options], Result]:
    """Make a stage the only writer of its run from the moment that it has something to write."""

    @functools.wraps(stage)
    def alone(run: Run, /, *args: Options.args, **kwargs: Options.kwargs) -> Result:
        require_run(run, stage.__name__)
        if rank() > 0:  # the first process writes, and has the lock
            return stage(run, *args, **kwargs)
        progress = cast(Progress, kwargs.get("progress", Silent()))

        def work() -> Result:
            result = stage(run, *args, **kwargs)
            run.tidy()
            return result

        before = AT_WORK.set(str(run.folder))
        try:
            with named_disk_errors(run.folder):
                return lock.alone_in(
                    [run.folder],
                    work,
                    purpose=f"nformer {stage.__name__.replace('_', '-')}",
                    warn=progress.warn,
                )
        finally:
            AT_WORK.reset(before)

    return alone


def require_different(runs: Sequence[Run]) -> None:
    """Raise BadInput where no run is named, or one twice."""
    if not runs:
        raise BadInput("name a run: --run DIR")
    if len({run.folder.resolve() for run in runs}) < len(runs):
        raise BadInput("--run names the same folder twice; give each run once")
