"""The benchmarks by name."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from ..errors import BadInput
from ..progress import Progress, Silent
from .record import Record

BENCHMARKS = {
    "backbone": "images a second, extraction and training, against the bare network",
    "nformer": "inference, training steps and new queries against a dense implementation",
    "nformer-million": "a million embeddings on an approximate graph",
    "accuracy": "the default on sets of many kinds, in domain and out of it, beside closed forms",
    "clusters": "clusters of the default beside plain DBSCAN, average linkage and HDBSCAN",
    "cluster": "refining in parts on a local cluster beside one process",
    "search": "finding a person with a picture: cold start, one more, a gallery of a million",
    "serve": "a server: one picture, 64 clients at once, a million items",
    "retrieval": "search, scoring and re-ranking against dense NumPy and FAISS",
}
TAKEN_BY = {
    "sets": ("accuracy", "clusters"),
    "keep": ("accuracy", "clusters"),
    "seeds": ("accuracy",),
}


def measure(
    name: str,
    *,
    quick: bool = False,
    sets: Sequence[str] = (),
    keep: str | None = None,
    seeds: int | None = None,
    progress: Progress = Silent(),
) -> Record:
    """Run a benchmark on this machine and return its table.

    quick: small sizes that end within a minute, to see that everything runs.
    sets:  accuracy and clusters: folders of embedding files, and runs, to measure too.
    keep:  accuracy and clusters: a folder in which what is made of each set is kept.
    seeds: accuracy only: how often each drawn set is drawn.

    Raises:
        BadInput: an unknown name, or settings for a benchmark that takes none.
    """
    if name not in BENCHMARKS:
        raise BadInput(f"benchmark {name!r}: unknown; known are {', '.join(BENCHMARKS)}")
    module, _, part = name.partition("-")
    asked = {"sets": sets or None, "keep": keep, "seeds": seeds}
    more = {option: value for option, value in asked.items() if value is not None}
    wrong = [option for option in more if name not in TAKEN_BY[option]]
    if wrong:
        theirs = " and ".join(TAKEN_BY[wrong[0]])
        raise BadInput(f"--{wrong[0]} belongs to the benchmark {theirs}, not to {name}")
    run = getattr(import_module(f".{module}", __package__), f"measure_{part}".rstrip("_"))
    return run(quick=quick, progress=progress, **more)


def record_path(name: str) -> Path:
    """Return where a benchmark's record lies: beside its module."""
    name = "accuracy_table" if name == "accuracy" else name  # ACCURACY.md is the log
    return Path(__file__).parent / f"{name.replace('-', '_')}.md"
