"""1,000 damaged or altered files in this process, and 50 through the command."""

import random
import time

from helpers.processes import run_apart

from .mutations import ROUNDS, TRIALS, campaign, kinds, mutated, whole


def test_a_damaged_file_is_read_or_refused_in_a_sentence():
    counts = campaign(0, time.monotonic() + 600, rounds=ROUNDS)
    assert counts.tried == ROUNDS * TRIALS
    assert not counts.failed, "\n".join(counts.failed)


def test_the_command_ends_with_0_or_with_a_sentence_and_2(tmp_path):
    chance, found, commands = random.Random(0), kinds(), []
    weights = [kind.weight * (kind.read is whole) for kind in found]
    for trial, kind in enumerate(chance.choices(found, weights, k=50)):
        path = tmp_path / f"trial{trial}{kind.ending}"
        mutated(kind, path, chance)
        files = [path] if kind.ending != ".npy" else [path, path.with_suffix(".csv")]
        commands.append(["import-embeddings", *files, "--run", tmp_path / f"run{trial}"])
    for command, ended in zip(
        commands, run_apart(commands, folder=tmp_path, first="import torch"), strict=True
    ):
        assert ended.code in (0, 2), (command, ended)
        last = (ended.err.strip().splitlines() or [""])[-1]
        assert ended.code == 0 or last.startswith("error: "), (command, ended)
        assert "Traceback" not in ended.err and ended.peak < 2048, (command, ended)
