"""The run's folder is removed at a random instant: the command ends, with one sentence or none."""

import random
import shutil
import time

from .commands import COMMANDS, Templates, forked
from .counts import Counts

ROUNDS = 2  # in CI


def campaign(seed: int, deadline: float, *, templates: Templates, rounds: int | None = None):
    """Remove the run of every command in turn until the deadline; `rounds`: so many turns."""
    counts, chance, number = Counts(), random.Random(seed), 0
    while number < rounds if rounds is not None else time.monotonic() < deadline:
        for name in COMMANDS:
            place = templates.copy(name, "vanishing")
            instant = chance.uniform(0, templates.seconds[name])
            fork = forked(name, place)
            time.sleep(instant)
            shutil.rmtree(place / "run", ignore_errors=True)
            counts.add(f"{name}, its run removed after {instant:.3f} s", fork.end().problem(0, 2))
        number += 1
    return counts
