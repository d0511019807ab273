"""The benchmarks by name."""

from importlib import import_module
from pathlib import Path

from ..errors import BadInput
from ..progress import Progress, Silent
from .record import Record

BENCHMARKS = {
    "nformer": "inference, training steps and new queries against a dense implementation",
    "nformer-million": "a million embeddings on an approximate graph",
    "search": "finding a person with a picture: cold start, one more, a gallery of a million",
    "retrieval": "search, scoring and re-ranking against dense NumPy and FAISS",
}


def measure(name: str, *, quick: bool = False, progress: Progress = Silent()) -> Record:
    """Run a benchmark on this machine and return its table.

    quick: small sizes that end within a minute, to see that everything runs.

    Raises:
        BadInput: an unknown name.
    """
    if name not in BENCHMARKS:
        raise BadInput(f"benchmark {name!r}: unknown; known are {', '.join(BENCHMARKS)}")
    module = import_module(f".{name.replace('-', '_')}", __package__)
    record: Record = module.measure(quick=quick, progress=progress)
    return record


def record_path(name: str) -> Path:
    """Return where a benchmark's record lies: beside its module."""
    return Path(__file__).parent / f"{name.replace('-', '_')}.md"
