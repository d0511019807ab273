"""The stages as data: which command writes which artifacts, and how it is typed."""

import os
import shlex
import sys
from contextvars import ContextVar
from pathlib import Path

# The run at work, for the commands that messages name: what takes arrays alone knows none.
AT_WORK: ContextVar[str] = ContextVar("run", default="")

STAGES = {
    "train-backbone": ("backbone.pt",),
    "extract": ("embeddings.h5",),
    "train-nformer": ("nformer.pt",),
    "evaluate": ("refined.h5", "graph.h5", "ranking.h5", "metrics.json"),
}
OTHER_WAYS = {
    "train": ("backbone.pt", "nformer.pt"),
    "import-embeddings": ("embeddings.h5",),
    "import-nformer": ("nformer.pt",),
    "refine": ("refined.h5",),
    "pack": ("images.h5",),
    "index": ("index.h5",),
    "cluster": ("clusters.csv",),
    "serve": ("index.lists.h5",),
}
PAGES = {"report.html": ("report", "metrics.json"), "clusters.html": ("cluster", "clusters.csv")}
ARGUMENTS = {
    "pack": " DATASET",
    "train-backbone": " DATASET",
    "train": " DATASET",
    "import-embeddings": " FILE",
    "import-nformer": " FILE",
}


def remake_command(artifact: str, *, run: str | os.PathLike[str], stage: str = "") -> str:
    """Return the command line that makes a run's `artifact`, by the stage that made it if known."""
    writers = [name for name, writes in (STAGES | OTHER_WAYS).items() if artifact in writes]
    if not writers:
        return "the command that wrote it"
    command = stage if stage in writers else writers[0]
    return command_line(f"{command}{ARGUMENTS.get(command, '')}", run=run)


def command_line(command: str, *arguments: object, run: str | os.PathLike[str] = "") -> str:
    """Return `nformer COMMAND ARGUMENTS --run DIR`, quoted as a shell wants it.

    run: the folder; by default that of the run at work, and none where arrays are at work.
    """
    folder = os.fspath(run) or AT_WORK.get()
    words = ["nformer", *command.split(), *map(str, arguments)]
    return shlex.join([*words, "--run", folder] if folder else words)


def typed() -> str:
    """Return the command line of this process as it was typed; "" in another program."""
    place, *words = sys.argv
    program = Path(place)
    ours = program.stem == "nformer" or program.parent.name == "nformer_cli"
    if not ours or "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun's own arguments are not known
        return ""
    return shlex.join(["nformer", *words])
