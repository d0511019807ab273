"""SIGKILL at random instants: the files before stay whole, and the next run makes the same ones."""

import random
import time
from pathlib import Path

from .commands import COMMANDS, Ended, Templates, forked, left_over, made, whole_artifacts
from .counts import Counts

ROUNDS = 1  # in CI
IN_A_ROW = 7  # kills of one command before it may finish


def campaign(seed: int, deadline: float, *, templates: Templates, rounds: int | None = None):
    """Kill every command in turn until the deadline; `rounds`: so many turns instead."""
    counts, chance, number = Counts(), random.Random(seed), 0
    while number < rounds if rounds is not None else time.monotonic() < deadline:
        for name in COMMANDS:
            counts += killed(name, templates, chance)
        number += 1
    return counts


def killed(name: str, templates: Templates, chance: random.Random) -> Counts:
    """Kill a command some times in one run, each time looking at what is there, then finish it."""
    counts, place = Counts(), templates.copy(name, "killed")
    limit = 1.1 * templates.seconds[name]
    for _ in range(IN_A_ROW):
        instant = chance.uniform(0, limit)
        fork = forked(name, place)
        time.sleep(instant)
        fork.kill()
        ended = fork.end()
        counts.add(f"{name} killed after {instant:.3f} s", _after_kill(ended, place))
    counts.tried += 1
    problem = finished(name, place, templates)
    if problem:
        counts.failed.append(f"{name} after {IN_A_ROW} kills: {problem}")
    return counts


def finished(name: str, place: Path, templates: Templates) -> str:
    """Return what is wrong where a killed command is run to its end, or ""."""
    ended = forked(name, place).end()
    again = name in ("index add", "index remove") and ended.code == 2  # it was done already
    return (
        ended.problem(0, 2 if again else 0)
        or whole_artifacts(place)
        or left_over(place)
        or ("" if made(name, place) == templates.wanted(name) else "it made another file")
    )


def _after_kill(ended: Ended, place: Path) -> str:
    return ("" if ended.code in (0, 2, -9) else ended.problem(0)) or whole_artifacts(place)
