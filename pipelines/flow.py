"""The stages as data: which command writes which artifact from which."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One arrow of the data's way."""

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
        ("refined.h5", "ranking.h5", "metrics.json"),
    ),
)


def writer_of(artifact: str) -> Stage | None:
    """Return the stage that writes `artifact`, or None."""
    return next((stage for stage in STAGES if artifact in stage.writes), None)


def remake_command(artifact: str) -> str:
    """Return the command line that makes `artifact`."""
    stage = writer_of(artifact)
    if stage is None:
        return "the command that wrote it"
    return f"nformer {stage.command}" + (" DATASET" if stage.command == "train-backbone" else "")
