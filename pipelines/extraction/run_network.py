"""The network that a run's items were embedded with, opened again for new pictures."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifacts.manifest import Manifest
from ..artifacts.run import Run
from ..config import ExtractConfig
from ..errors import BadInput, MissingArtifact, StaleArtifact
from ..flow import command_line
from ..imports import importing
from ..settings import build
from .given import PUBLISHED, GivenNetwork, Use

if TYPE_CHECKING:
    from .networks import Network

ITEMS = "embeddings.h5"


def run_network(run: Run, device: str, *, use: Use) -> "Network":
    """Return the network of a run's index or embeddings, with the settings that made them.

    Raises: as `named_network`.
    """
    given, config = named_network(run)
    from ..backbones.light_torchvision import import_torchvision

    with importing("torchvision"):
        import_torchvision()
    from ..device import choose_device
    from .networks import open_network

    return open_network(run, given, config=config, device=choose_device(device), use=use)


def named_network(run: Run) -> tuple[GivenNetwork | None, ExtractConfig]:
    """Return what a run's items were embedded with, and the settings; None: its backbone.

    Raises:
        BadInput: the embeddings were imported, or the network's file is gone or was changed.
        MissingArtifact: nothing was embedded in this run.
        StaleArtifact: backbone.pt is another one now.
    """
    manifest = items_manifest(run)
    if manifest.stage == "import-embeddings":
        raise BadInput(
            f"the embeddings in {run.folder} were imported: their network is not here. Give "
            "embeddings of the pictures by the same network (.npz, .npy + .csv, …) instead"
        )
    given = remembered(manifest, run)
    if given is None and run.changed_inputs(ITEMS):
        raise StaleArtifact(
            f"{run.path(ITEMS)} was made with another backbone.pt than the one there now; remake "
            f"it with: {command_line('extract', '--overwrite', run=run.folder)}, and then the "
            f"index with: {command_line('index', '--overwrite', run=run.folder)}"
        )
    if given is None:
        run.require_manifest("backbone.pt")
    return given, settings_of(manifest)


def items_manifest(run: Run) -> Manifest:
    """Return the manifest of what a run's items were embedded as: index.h5 or embeddings.h5."""
    index = run.manifest("index.h5")
    if index is not None and "network" in index.config:
        return index
    items = run.manifest(ITEMS)
    if items is None:
        raise MissingArtifact(
            f"{run.path(ITEMS)} is not there; make it with: "
            f"{command_line('extract', run=run.folder)}"
        )
    return items


def settings_of(manifest: Manifest) -> ExtractConfig:
    """Return the settings that pictures were embedded with."""
    known = {field.name for field in fields(ExtractConfig)}
    kept: dict[str, Any] = manifest.config.get("network", manifest.config)
    values = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in kept.items()
        if key in known
    }
    if "arch" not in kept:  # of backbone.pt: earlier versions recorded a size that was not used
        values = {key: values[key] for key in values if key not in ("height", "width")}
    found: ExtractConfig = build(ExtractConfig, values, where=f"{manifest.artifact}.json")
    return found


def remembered(manifest: Manifest, run: Run) -> GivenNetwork | None:
    """Return the network that a manifest names, or None: the run's backbone.

    Raises:
        BadInput: its file is neither where it was nor in the run's folder, or is another one.
    """
    facts = manifest.facts.get("network")
    if facts is None:
        return None
    arch, weights = facts["arch"], facts["weights"]
    if weights == PUBLISHED:
        return GivenNetwork(arch, weights)
    beside = run.folder / Path(weights).name
    where = next((path for path in (Path(weights), beside) if path.is_file()), None)
    if where is None:
        raise BadInput(
            f"the network of {run.folder} was {weights}, which is not there now; put it there or "
            f"at {beside}"
        )
    found = GivenNetwork(arch, str(where))
    for name, digest in found.inputs().items():
        if manifest.inputs.get(name) != digest:
            raise BadInput(
                f"{where} is another network than the one that embedded {run.folder}; put back "
                "the file of then, or embed again with --overwrite"
            )
    return found
