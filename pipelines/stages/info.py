"""run folder -> what lies in it, made from what, and which of it is stale"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..artifacts.manifest import Manifest
from ..artifacts.results import Evaluation
from ..artifacts.run import SCRATCH, Run
from ..artifacts.unfinished import unfinished_in
from ..embeddings import SPLITS
from ..errors import BadInput
from ..flow import OTHER_WAYS, PAGES, STAGES, command_line, remake_command

Table = dict[str, Any]


@dataclass(frozen=True)
class ArtifactInfo:
    """One artifact's state: whole, stale (an input has changed), damaged, missing (another was made
    from it), not made yet, or begun: interrupted, and to be gone on with."""

    name: str
    state: Literal["whole", "stale", "damaged", "missing", "not yet", "begun"]
    command: str
    inputs: dict[str, str]
    bytes: int
    note: str


def info(run: Run) -> list[ArtifactInfo]:
    """Return every artifact of the run: the stages' in their order, then what else is there.

    What no artifact was made from, and a later one did without, is left out.
    """
    if not run.folder.is_dir():
        raise BadInput(
            f"{run.folder} is not there; begin a run with: "
            f"{command_line('train-backbone', 'DATASET', run=run.folder)}"
        )
    rows = _asked_for(on_the_way(run))
    names = {path.name.removesuffix(".json") for path in run.folder.glob("*.json")}  # manifests'
    names |= {name for writes in OTHER_WAYS.values() for name in writes}
    others = sorted(name for name in names - {r.name for r in rows} if run.path(name).is_file())
    pages = [_page(run, name) for name in PAGES if run.path(name).is_file()]
    return rows + [_describe(run, name, command="") for name in others] + pages


def on_the_way(run: Run) -> list[ArtifactInfo]:
    """Return the artifacts of the stages, in their order, those too that are not made yet."""
    return [
        _describe(run, name, command=command) for command, names in STAGES.items() for name in names
    ]


def _asked_for(rows: list[ArtifactInfo]) -> list[ArtifactInfo]:
    """Return the rows that a person looks for: what was made, what is gone, what comes next."""
    used = {name for row in rows for name in row.inputs}
    last = max((place for place, row in enumerate(rows) if row.state != "not yet"), default=-1)
    kept = []
    for place, row in enumerate(rows):
        if row.state != "not yet" or place > last:
            kept.append(row)
        elif row.name in used:
            kept.append(replace(row, state="missing"))
    return kept


def _page(run: Run, name: str) -> ArtifactInfo:
    """Return what a page to look at tells: whether it is older than what it shows."""
    command, source = PAGES[name]
    older = is_older(run, name)
    again = command_line(command, run=run.folder)
    note = f"older than {source}; make it again with: {again}" if older else "for a browser"
    size = run.path(name).stat().st_size
    return ArtifactInfo(name, "stale" if older else "whole", command, {}, size, note)


def is_older(run: Run, name: str) -> bool:
    """Return whether a page of the run is not there, or older than what it shows."""
    page, source = run.path(name), run.path(PAGES[name][1])
    return not page.exists() or (
        source.exists() and page.stat().st_mtime_ns < source.stat().st_mtime_ns
    )


def info_json(rows: list[ArtifactInfo]) -> str:
    """Return the rows as one JSON object."""
    return json.dumps({"artifacts": [asdict(row) for row in rows]}, ensure_ascii=False)


def _describe(run: Run, name: str, *, command: str) -> ArtifactInfo:
    try:
        manifest = run.manifest(name)
    except BadInput as error:
        return ArtifactInfo(name, "damaged", command, {}, 0, str(error))
    if manifest is None:
        note = f"make it with: {remake_command(name, run=run.folder)}"
        if run.path(name).exists():
            note = f"its manifest is missing; {note}"
        kept = unfinished_in(run.folder / SCRATCH / name)
        if kept:
            go_on = kept.go_on(otherwise="") if kept.command else "the next run goes on"
            note = f"interrupted at {kept}; {go_on}"
        return ArtifactInfo(name, "begun" if kept else "not yet", command, {}, 0, note)
    state: Literal["whole", "stale", "damaged"] = "whole"
    note, changed = "", run.changed_inputs(name)
    if changed:
        state, note = "stale", f"made from another {' and another '.join(changed)}"
    else:
        try:
            run.artifact(name)
            note = _summary(run, manifest)
            if name == "index.h5":
                note = "; ".join(filter(None, (note, older_than_nformer(run))))
        except BadInput as error:
            state, note = "damaged", str(error)
    kept = unfinished_in(run.folder / SCRATCH / name)
    if kept:
        go_on = kept.go_on(otherwise=remake_command(name, run=run.folder))
        note = f"{note}; another was interrupted at {kept}; {go_on}".removeprefix("; ")
    return ArtifactInfo(name, state, manifest.stage, manifest.inputs, manifest.bytes, note)


def older_than_nformer(run: Run) -> str:
    """Return what to say of a run's index that was made before its nformer.pt; "" of others."""
    manifest = run.manifest("index.h5")
    if manifest is None or run.manifest("nformer.pt") is None:
        return ""
    models = [name for name in manifest.inputs if name != "embeddings.h5"]
    if models or "embeddings.h5" not in manifest.inputs:
        return ""
    again = command_line("index", "--overwrite", run=run.folder)
    return f"made before nformer.pt, so it is not refined; refine it with: {again}"


def _summary(run: Run, manifest: Manifest) -> str:
    """Return what a person wants to know of an artifact, in a line."""
    from ..data.catalogue import title_of

    told = ABOUT.get(manifest.artifact)
    parts = told(manifest.config, manifest.facts) if told else []
    if manifest.artifact == "metrics.json":
        parts = _figures(run.path("metrics.json"))
    if manifest.facts.get("dataset") and "images" in manifest.facts:
        parts.append(f"of {title_of(manifest.facts)}")
    left_out = len(manifest.facts.get("skipped") or ())
    parts.append(f"{left_out:,} image{'s' * (left_out > 1)} left out" if left_out else "")
    return ", ".join(part for part in parts if part)


def _backbone(config: Table, facts: Table) -> list[str]:
    weights = Path(str(config.get("weights", ""))).name
    return [
        f"{config.get('arch')} from {weights}",
        f"images {config.get('height')}×{config.get('width')}",
        f"{config.get('epochs')} epochs",
        f"{facts.get('classes')} identities",
    ]


def _embeddings(config: Table, facts: Table) -> list[str]:
    network = facts.get("network", {}).get("arch") or config.get("arch", "")
    counts = facts.get("images") or facts.get("counts") or {}
    listed = ", ".join(f"{split} {counts[split]:,}" for split in SPLITS if split in counts)
    return [network, f"dim {facts['dim']}" if "dim" in facts else "", listed]


def _nformer(config: Table, facts: Table) -> list[str]:
    before = facts.get("folds_mAP_before", facts.get("held_out_mAP_before"))
    after = facts.get("folds_mAP", facts.get("held_out_mAP"))
    k = facts.get("closed_form", {}).get("neighbours") or config.get("neighbours")
    gain = ""
    if before is not None and after is not None:
        gain = f"held-out mAP {100 * before:.1f} to {100 * after:.1f}"
    return [str(facts.get("kind", "")), f"k = {k}" if k else "", gain]


def _refined(config: Table, facts: Table) -> list[str]:
    return [f"{config.get('protocol')} protocol", str(facts.get("kind", ""))]


def _figures(path: Path) -> list[str]:
    """Return the baseline's mAP and the best."""
    rows = Evaluation.read(path).results
    best = max(rows, key=lambda row: row.mAP)
    shown = [rows[0]] + [best] * (best is not rows[0])
    return [f"mAP {100 * row.mAP:.1f} {row.label}" for row in shown]


def _index(config: Table, facts: Table) -> list[str]:
    changes = [f"{facts[key]:,} {key}" for key in ("added", "removed") if facts.get(key)]
    threshold = "" if facts.get("calibration") else "no threshold for “nobody here”"
    return [*changes, threshold]


def _clusters(config: Table, facts: Table) -> list[str]:
    chosen = facts.get("chosen", {})
    return [
        f"{facts.get('identities'):,} identities of {facts.get('rows'):,} rows",
        f"{config.get('method')}, threshold {chosen.get('threshold', 0):.3f} ({chosen.get('by')})",
        f"{facts.get('embeddings')} embeddings",
    ]


def _lists(config: Table, facts: Table) -> list[str]:
    found = facts["recall"]["rows"]
    return [f"{found:.3f} of the {config['neighbours']} nearest items are found"]


ABOUT = {
    "backbone.pt": _backbone,
    "embeddings.h5": _embeddings,
    "nformer.pt": _nformer,
    "refined.h5": _refined,
    "index.h5": _index,
    "clusters.csv": _clusters,
    "index.lists.h5": _lists,
}
