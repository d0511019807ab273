"""Every campaign: `python -m tests.reliability --hours 1`; exit code 1 where something gave way.

A campaign is a module with `campaign(seed, deadline) -> Counts`, named in CAMPAIGNS. Those of the
storage take runs to work on, `templates`, and `rounds` to do instead of work until the deadline.
`--ci` does `ROUNDS` of each, each round with a seed of its own: see test_campaigns.py.
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from multiprocessing import get_context
from pathlib import Path

from .commands import Templates, load
from .counts import Counts

CAMPAIGNS = ("disks", "kills", "writers", "vanishing", "damage", "mutations")
TURN = 90.0  # seconds of one campaign, in the hours that are asked for


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--ci", action="store_true", help="some rounds instead of hours")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=CAMPAIGNS, action="append")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="where to write the counts")
    asked = parser.parse_args()
    load()
    campaigns = {name: import_module(f"{__package__}.{name}") for name in asked.only or CAMPAIGNS}
    rounds = {name: getattr(one, "ROUNDS", 0) for name, one in campaigns.items()}
    most = round(3600 * asked.hours * asked.workers / (TURN * len(campaigns)))
    turns = [
        (campaigns[name].campaign, name, asked.seed + turn)
        for turn in range(max(rounds.values()) if asked.ci else max(1, most))
        for name in campaigns
        if not asked.ci or turn < rounds[name]
    ]
    total = {name: Counts() for name in campaigns}
    with tempfile.TemporaryDirectory(prefix="nformer-reliability-") as folder:
        templates = Templates(Path(folder) / "runs")
        end = time.monotonic() + 3600 * asked.hours
        with get_context("fork").Pool(
            asked.workers, _begin, (templates, None if asked.ci else end)
        ) as pool:
            for name, seed, found, took in pool.imap_unordered(_turn, turns):
                total[name] += found
                print(f"{name}, seed {seed}: {found.line()}, {took:.0f} s", flush=True)
                for text in found.failed:
                    print(f"  {text}", flush=True)
    print(*(f"{name:10} {counts.line()}" for name, counts in total.items()), sep="\n")
    if asked.json is not None:
        asked.json.write_text(json.dumps({name: vars(one) for name, one in total.items()}))
    return int(any(counts.failed for counts in total.values()))


def _begin(templates: Templates, end: float | None) -> None:
    global given
    given = (templates, end)


def _turn(one: tuple[Callable[..., Counts], str, int]) -> tuple[str, int, Counts, float]:
    """Run a campaign for its turn, or for one round where there is no end."""
    (campaign, name, seed), (templates, end) = one, given
    begun = time.monotonic()
    if end is not None and begun >= end:
        return name, seed, Counts(), 0.0
    further = {"templates": templates, "rounds": 1 if end is None else None}
    wanted = {key: further[key] for key in further if key in signature(campaign).parameters}
    found = campaign(seed, min(end or math.inf, begun + TURN), **wanted)
    return name, seed, found, time.monotonic() - begun


if __name__ == "__main__":
    sys.exit(main())
