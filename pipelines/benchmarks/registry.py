"""The benchmarks by name."""

from importlib import import_module
from pathlib import Path

from ..errors import BadInput
from ..progress import Progress, Silent
from .record import Record

BENCHMARKS = {
    "backbone": "images a second, extraction and training, against the bare network",
    "nformer": "inference, training steps and new queries against a dense implementation",
    "nformer-million": "a million embeddings on an approximate graph",
    "accuracy": "what refinement brings on sets of many kinds, beside closed forms and re-ranking",
    "search": "finding a person with a picture: cold start, one more, a gallery of a million",
    "retrieval": "search, scoring and re-ranking against dense NumPy and FAISS",
}


def measure(
    name: str, *, quick: bool = False, sets: str | None = None, progress: Progress = Silent()
) -> Record:
    """Run a benchmark on this machine and return its table.

    quick: small sizes that end within a minute, to see that everything runs.
    sets:  accuracy only: a folder of embedding files to measure too.

    Raises:
        BadInput: an unknown name, or sets for a benchmark that takes none.
    """
    if name not in BENCHMARKS:
        raise BadInput(f"benchmark {name!r}: unknown; known are {', '.join(BENCHMARKS)}")
    module = import_module(f".{name.replace('-', '_')}", __package__)
    if sets is not None and name != "accuracy":
        raise BadInput(f"--sets belongs to the benchmark accuracy, not to {name}")
    more = {} if sets is None else {"sets": sets}
    return module.measure(quick=quick, progress=progress, **more)


def record_path(name: str) -> Path:
    """Return where a benchmark's record lies: beside its module."""
    name = "accuracy_table" if name == "accuracy" else name  # ACCURACY.md is the log
    return Path(__file__).parent / f"{name.replace('-', '_')}.md"
