"""run folder -> what lies in it, made from what, and which of it is stale"""

import json
from dataclasses import asdict, dataclass
from typing import Literal

from ..artifacts.manifest import Manifest
from ..artifacts.run import Run
from ..errors import BadInput
from ..flow import OTHER_WAYS, STAGES


@dataclass(frozen=True)
class ArtifactInfo:
    """One artifact's state: whole, stale (an input has changed), damaged, or missing."""

    name: str
    state: Literal["whole", "stale", "damaged", "missing"]
    command: str
    inputs: dict[str, str]
    bytes: int
    note: str


def info(run: Run) -> list[ArtifactInfo]:
    """Return every artifact of the run: the stages' in their order, then what else is there."""
    if not run.folder.is_dir():
        raise BadInput(
            f"{run.folder} is not there; begin a run with: nformer train-backbone DATASET "
            f"--run {run.folder}"
        )
    rows = on_the_way(run)
    names = {path.name.removesuffix(".json") for path in run.folder.glob("*.json")}  # manifests'
    names |= {name for writes in OTHER_WAYS.values() for name in writes}
    others = sorted(name for name in names - {r.name for r in rows} if run.path(name).is_file())
    return rows + [_describe(run, name, command="") for name in others]


def on_the_way(run: Run) -> list[ArtifactInfo]:
    """Return the artifacts of the stages, in their order, missing ones too."""
    return [
        _describe(run, name, command=command) for command, names in STAGES.items() for name in names
    ]


def info_json(rows: list[ArtifactInfo]) -> str:
    """Return the rows as one JSON object."""
    return json.dumps({"artifacts": [asdict(row) for row in rows]}, ensure_ascii=False)


def _describe(run: Run, name: str, *, command: str) -> ArtifactInfo:
    try:
        manifest = run.manifest(name)
    except BadInput as error:
        return ArtifactInfo(name, "damaged", command, {}, 0, str(error))
    if manifest is None:
        note = "its manifest is missing" if run.path(name).exists() else ""
        return ArtifactInfo(name, "missing", command, {}, 0, note)
    state: Literal["whole", "stale", "damaged"] = "whole"
    note, changed = _summary(manifest), run.changed_inputs(name)
    if changed:
        state, note = "stale", f"made from another {' and another '.join(changed)}"
    else:
        try:
            run.artifact(name)
        except BadInput as error:
            state, note = "damaged", str(error)
    return ArtifactInfo(name, state, manifest.stage, manifest.inputs, manifest.bytes, note)


def _summary(manifest: Manifest) -> str:
    """Return the facts that fit in a cell: those that are single words or numbers."""
    short = {
        key: f"{value:.4g}" if isinstance(value, float) else value
        for key, value in manifest.facts.items()
        if isinstance(value, float) or (isinstance(value, int | str) and 0 < len(str(value)) <= 24)
    }
    return ", ".join(f"{key} {value}" for key, value in sorted(short.items()))
