"""The run folder: the only state between stages, each file with its manifest."""

import dataclasses
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import BadInput, MissingArtifact, StaleArtifact
from ..files import file_digest, replacing, write_text
from ..flow import remake_command
from .manifest import Manifest


class Run:
    """A folder of artifacts. `run.artifact("embeddings.h5")` is a file that can be trusted.

    A file counts only with its manifest, NAME.json, which is written last.
    """

    def __init__(self, folder: str | os.PathLike[str] = "runs/default") -> None:
        self.folder = Path(folder).expanduser()  # of NFORMER_RUN no shell has
        if self.folder.exists() and not self.folder.is_dir():
            raise BadInput(f"--run {self.folder} is a file; a run is a folder")
        self._verified: dict[str, tuple[int, int, str]] = {}

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
        manifest = self.manifest(name)
        if manifest is None:
            raise MissingArtifact(
                f"{self.path(name)} is not there; make it with: {self._remake(name)}"
            )
        self.require_whole(name)
        changed = self.changed_inputs(name)
        if changed:
            raise StaleArtifact(
                f"{self.path(name)} was made from another {' and another '.join(changed)} than the "
                f"one there now; remake it with: {self._remake(name)} --overwrite"
            )
        return self.path(name)

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a checked artifact: what the next stage's manifest records."""
        self.artifact(name)
        manifest = self.manifest(name)
        assert manifest is not None
        return manifest.sha256

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
        manifest = self.manifest(name)
        if manifest is None:
            raise MissingArtifact(
                f"{self.path(name)} is not there; make it with: {self._remake(name)}"
            )
        return manifest.facts

    def is_current(self, wanted: Manifest, *, overwrite: bool = False) -> bool:
        """Return whether `wanted` is on disk already, whole, and need not be made again.

        Raises:
            StaleArtifact: another artifact stands there, and `overwrite` is not given.
        """
        if overwrite:
            return False
        found = self.manifest(wanted.artifact)
        differences = wanted.differences(found) if found else []
        if differences:
            raise StaleArtifact(
                f"{self.path(wanted.artifact)} is another one: {'; '.join(differences)}. "
                f"Add --overwrite to replace it, or --run DIR to keep both"
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
        facts, pending = dict(wanted.facts), self._pending(wanted.artifact)
        with replacing(self.path(wanted.artifact)) as temporary:
            yield temporary, facts
            digest, size = file_digest(temporary), temporary.stat().st_size
            done = dataclasses.replace(wanted, sha256=digest, bytes=size, facts=facts)
            write_text(pending, done.to_json())
        with suppress(FileNotFoundError):  # a reader found the two complete, and has renamed it
            os.replace(pending, self.manifest_path(wanted.artifact))

    def scratch(self, name: str) -> Path:
        """Return a folder for what a long stage needs to go on after an interruption."""
        folder = self.folder / ".unfinished" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def clear_scratch(self, name: str) -> None:
        """Remove a finished stage's resumable state."""
        shutil.rmtree(self.folder / ".unfinished" / name, ignore_errors=True)
        parent = self.folder / ".unfinished"
        if parent.exists() and not any(parent.iterdir()):
            parent.rmdir()

    def require_whole(self, name: str) -> None:
        """Raise BadInput where an artifact's bytes are not those that its manifest records."""
        path, manifest = self.path(name), self.manifest(name)
        assert manifest is not None
        status = path.stat()
        key = (status.st_size, status.st_mtime_ns, manifest.sha256)
        if self._verified.get(name) == key:
            return
        if status.st_size != manifest.bytes:
            raise BadInput(
                f"{path} is cut or replaced: {status.st_size} bytes, its manifest records "
                f"{manifest.bytes}; remake it with: {self._remake(name)} --overwrite"
            )
        if file_digest(path) != manifest.sha256:
            raise BadInput(
                f"{path} is damaged or replaced: its content is not what its manifest records; "
                f"remake it with: {self._remake(name)} --overwrite"
            )
        self._verified[name] = key

    def _pending(self, name: str) -> Path:
        """Return where the manifest of a new `name` waits until the file is in its place."""
        return self.folder / f".{name}.json.next"

    def _remake(self, name: str) -> str:
        manifest = self.manifest(name)
        stage = "" if manifest is None else manifest.stage
        return f"{remake_command(name, stage=stage)} --run {self.folder}"
