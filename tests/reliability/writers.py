"""Two writers at once in one run: each does its work, or leaves with one line."""

import random
import time

from .commands import WRITES, Templates, forked, left_over, made, whole_artifacts
from .counts import Counts

ROUNDS = 10  # in CI
PAIRS = (
    ("import-embeddings", "import-embeddings"),
    ("train-nformer", "train-nformer"),
    ("evaluate", "evaluate"),
    ("refine", "evaluate"),
    ("index add", "index remove"),
    ("subsample", "subsample"),
    ("reproduce", "reproduce"),
    ("report", "report"),
    ("pack", "pack"),
    ("extract", "extract"),
    ("train-backbone", "train-backbone"),
)


def campaign(seed: int, deadline: float, *, templates: Templates, rounds: int | None = None):
    """Begin both commands of each pair within a tenth of their time, then look at the run."""
    counts, chance, number = Counts(), random.Random(seed), 0
    while number < rounds if rounds is not None else time.monotonic() < deadline:
        for pair in PAIRS:
            pause = chance.uniform(0, 0.1) * templates.seconds[pair[0]] * chance.randrange(3)
            counts.add(f"{' and '.join(pair)}, {pause:.3f} s apart", both(pair, templates, pause))
        number += 1
    return counts


def both(pair: tuple[str, str], templates: Templates, pause: float) -> str:
    """Return what went wrong where two commands wrote in one run, or ""."""
    place = templates.copy(pair[0], "both")
    first = forked(pair[0], place)
    time.sleep(pause)
    second = forked(pair[1], place)
    ends = first.end(), second.end()
    problem = next((end.problem(0, 2) for end in ends if end.problem(0, 2)), "")
    if not problem and all(end.code for end in ends):
        problem = f"neither did its work: {ends}"
    same = len(set(pair)) > 1 or made(pair[0], place) == templates.wanted(pair[0])
    return (
        problem
        or whole_artifacts(place)
        or left_over(place)
        or ("" if same else f"another {WRITES[pair[0]]}")
    )
