"""What a person sees: commands at a terminal of 80 columns, with bars instead of lines."""

import io
import os
import pty
import re
import shlex
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import nformer, refused
from helpers.layouts import write_images
from rich.console import Console

from nformer_cli import console
from nformer_cli.console import wrapped

TINY = (
    "--arch shufflenet_v2_x0_5 --weights none --height 32 --width 16 --batch 8 "
    "--device cpu --set dim=16 --set amp=off --set workers=0 --set instances=2"
)


def at_a_terminal(line: str) -> tuple[int, str]:
    """Run a command whose every stream is a terminal; return its exit code and the screen."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [sys.executable, "-m", "nformer_cli.main", *shlex.split(line)]
    told = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=told)
    os.close(theirs)
    screen = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        screen += part
    os.close(ours)
    return process.wait(60), screen.decode(errors="replace")


def test_an_accuracy_beside_a_bar_is_in_per_cent():
    counted = console._Counted(total=None, unit="")
    figures = counted.count(1, {"loss": 2.5, "held_out_mAP": 0.8712, "stage": "last"})
    assert figures == ["loss 2.5", "held-out mAP 87.1", "stage last"]


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NFORMER_RUN", raising=False)
    for person in ("ann", "bob", "cleo", "dan"):
        write_images(Path("people", person), [f"{number}.jpg" for number in range(4)])


def test_training_and_embedding_show_bars(pictures):
    own = "folder --root people --split 0.5 --run r"
    for line, title in (
        (f"train-backbone {own} {TINY} --epochs 2", "train backbone"),
        ("extract --run r --device cpu", "embed"),
        ("evaluate --run r --all", "evaluate"),
        ("index --run r", "index.h5"),
        ("search people/ann/0.jpg --run r --device cpu", "similarity"),
        ("train-nformer --run r --no-closed-form --steps 3 --device cpu", "train NFormer"),
        ("reproduce table1 --run r --seeds 1 --draws 1 --steps 1 --device cpu", "train variants"),
    ):
        code, screen = at_a_terminal(line)
        assert code == 0 and "Traceback" not in screen, screen[-3000:]
        assert title in screen and "\x1b[" in screen, screen


def lines_of(screen: str) -> list[str]:
    """Return what was written, without colours: long lines as they were written."""
    return re.sub(r"\x1b\[[0-9;]*m", "", screen).replace("\r\n", "\n").splitlines()


def test_info_leaves_the_commands_of_its_notes_whole(pictures):
    run = "runs/a-name-with-which-a-command-is-wider-than-a-column-of-the-table"
    Path(run).mkdir(parents=True)
    code, screen = at_a_terminal(f"info --run {run}")
    assert code == 0
    lines = lines_of(screen)
    assert f"nformer train-nformer --run {run}" in lines
    assert lines[lines.index(f"nformer extract --run {run}") - 1] == "embeddings.h5: make it with:"
    assert not any("make it with" in line and "not yet" in line for line in lines)


def test_lines_end_between_words_and_a_command_stays_whole(pictures):
    run = "runs/" + "a-name-so-long-that-its-command-is-wider-than-the-terminal" * 2
    code, screen = at_a_terminal(f"evaluate --run {run}")
    assert code == 2
    assert lines_of(screen) == [
        "error:",
        f"{run}/embeddings.h5",
        "is not there, nor is its folder (--run); make it with:",
        f"nformer extract --run {run}",
    ]


def test_no_line_is_broken_within_a_word_and_a_pipe_gets_one_line(pictures):
    line = "check-data people --root people"
    code, screen = at_a_terminal(line)
    said = lines_of(screen)
    assert code == 2 and len(said) > 2 and max(map(len, said)) <= 80
    assert said[0].startswith("error: 'people' is no data set known here") and said[0][-1] != " "
    assert " ".join(said) == refused(line)


def test_lines_beside_a_table_are_as_wide_as_the_terminal_and_runs_keep_their_names(pictures):
    random = np.random.default_rng(0)
    arrays = {}
    for split in ("query", "gallery"):
        arrays[f"{split}_features"] = random.normal(size=(12, 8)).astype(np.float32)
        arrays[f"{split}_pids"] = np.arange(12) % 4
    np.savez("x.npz", **arrays)
    runs = [f"results/of/this/week/{name}" for name in ("plain", "other")]
    for run in runs:
        assert nformer(f"import-embeddings x.npz --run {run} --dataset people").code == 0
        code, screen = at_a_terminal(f"evaluate --refine none --no-report --run {run}")
        assert code == 0, screen
        assert "people: isolated protocol, rules market1501, seed 0" in screen
        assert "12 of 12 queries have a match among 12 gallery items" in screen
    code, screen = at_a_terminal("compare " + " ".join(runs))
    assert max(map(len, lines_of(screen))) <= 80
    assert all(run in screen for run in runs), screen


def test_a_slow_rate_is_seconds_each_and_an_open_end_is_ticked(monkeypatch):
    screen, clock = io.StringIO(), [0.0]
    monkeypatch.setattr(console, "err", Console(file=screen, force_terminal=True, width=100))
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    with console.TerminalProgress().task("choose", None, unit="gates") as task:
        clock[0] = 8.0
        task.advance(2)
    assert "4 s each" in screen.getvalue() and "✓" in screen.getvalue()
    with console.TerminalProgress().task("go on", 40, unit="gates") as task:
        clock[0] = 16.0
        task.advance(16)
    assert "2 gates/s" in screen.getvalue()


def test_a_rate_after_a_resume_counts_new_work_alone(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    counted = console._Counted(total=200, unit="images")
    counted.skip(150)  # by the command that was interrupted
    clock[0] = 10.0
    assert counted.count(20, {}) == ["2 images/s"]
    assert counted.counted() == "170/200 images"


def test_a_line_that_fits_keeps_its_columns():
    assert wrapped("train        120", 16) == ["train        120"]
    assert wrapped("train        120", 15) == ["train 120"]
