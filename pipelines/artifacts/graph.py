"""graph.h5: the neighbour graphs of one set of embeddings, read instead of searched again."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BadInput, MissingArtifact, StaleArtifact
from ..flow import command_line
from ..hdf5 import reading, require_arrays, writing

if TYPE_CHECKING:
    import h5py

    from ..neighbours.graph import NeighbourGraph
    from .run import Run

SCHEMA = 1
GRAPHS = ("gallery", "query", "joint")


def save_graphs(path: str | Path, graphs: "dict[str, NeighbourGraph]") -> None:
    """Write graphs by name to `path` itself: a group each, with how it was searched.

    Datasets: `similarity` [N, k] float32, `index` [N, k] int32, and `least` [N] float32 where it
    is known. Attributes: method, device, recall, detail, seconds.
    """
    with writing(Path(path)) as file:
        file.attrs["schema"] = SCHEMA
        for name, graph in sorted(graphs.items()):
            group = file.create_group(name)
            group.create_dataset("similarity", data=graph.similarity.astype(np.float32))
            group.create_dataset("index", data=graph.index.astype(np.int32))
            if graph.least is not None:
                group.create_dataset("least", data=graph.least.astype(np.float32))
            how = graph.searched
            group.attrs.update(
                {
                    "method": how.method,
                    "device": how.device,
                    "recall": how.recall,
                    "detail": how.detail,
                    "seconds": graph.seconds,
                }
            )


def load_graphs(path: str | Path) -> "dict[str, NeighbourGraph]":
    """Read every graph that a file holds.

    Raises:
        BadInput: no such file, not HDF5, another schema, or broken content.
    """
    again = command_line("evaluate", "--overwrite", run=Path(path).parent)
    with reading(Path(path), remedy=f"make it again with: {again}") as file:
        if file.attrs.get("schema") != SCHEMA:
            raise BadInput(f"{path} holds no neighbour graphs of ours; remove it")
        found = [name for name in GRAPHS if name in file]
        for name in found:
            least = {"least": "f[N]"} if "least" in file[name] else {}
            require_arrays(Path(path), file[name], similarity="f[N,k]", index="i[N,k]", **least)
        return {name: _graph(file[name]) for name in found}


def graphs_of(run: "Run") -> "dict[str, NeighbourGraph]":
    """Return the graphs of a run's present embeddings by name, none where there are none."""
    try:
        return load_graphs(run.artifact("graph.h5"))
    except (MissingArtifact, StaleArtifact):
        return {}


def _graph(group: "h5py.Group") -> "NeighbourGraph":
    from ..neighbours.graph import NeighbourGraph
    from ..neighbours.nearest import Searched

    how = group.attrs
    return NeighbourGraph(
        group["similarity"][:],
        group["index"][:].astype(np.int64),
        Searched(str(how["method"]), str(how["device"]), float(how["recall"]), str(how["detail"])),
        group["least"][:] if "least" in group else None,
        float(how["seconds"]),
    )
