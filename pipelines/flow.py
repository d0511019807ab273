"""The stages as data: which command writes which artifact from which."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One command: what it reads and what it writes."""

    command: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


STAGES = (
    Stage("train-backbone", ("the data set's training images",), ("backbone.pt",)),
    Stage("extract", ("backbone.pt", "the data set's images"), ("embeddings.h5",)),
    Stage("train-nformer", ("embeddings.h5",), ("nformer.pt",)),
    Stage(
        "evaluate",
        ("embeddings.h5", "nformer.pt"),
        ("refined.h5", "graph.h5", "ranking.h5", "metrics.json"),
    ),
)

OTHER_WAYS = (
    Stage("import-embeddings", ("embeddings of any network",), ("embeddings.h5",)),
    Stage("import-nformer", ("a checkpoint of the released code",), ("nformer.pt",)),
    Stage("refine", ("embeddings.h5", "nformer.pt"), ("refined.h5",)),
    Stage("pack", ("the data set's images",), ("images.h5",)),
    Stage("index", ("embeddings.h5", "nformer.pt"), ("index.h5",)),
)
ARGUMENTS = {
    "pack": " DATASET",
    "train-backbone": " DATASET",
    "import-embeddings": " FILE",
    "import-nformer": " FILE",
}


def remake_command(artifact: str, *, stage: str = "") -> str:
    """Return the command line that makes `artifact`, by the stage that made it if that is known."""
    writers = [one.command for one in STAGES + OTHER_WAYS if artifact in one.writes]
    if not writers:
        return "the command that wrote it"
    command = stage if stage in writers else writers[0]
    return f"nformer {command}{ARGUMENTS.get(command, '')}"
