"""What reaches the terminal, and how a mistake ends: one line, exit code 2, no traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import nformer as nformer_here
from helpers.commands import refused

ROOT = Path(__file__).parents[2]


def nformer(*arguments, folder, **environment):
    return subprocess.run(
        [sys.executable, "-m", "nformer_cli.main", *map(str, arguments)],
        capture_output=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=False,
    )


@pytest.fixture
def embeddings(tmp_path):
    random = np.random.default_rng(0)
    arrays = {}
    for split in ("query", "gallery"):
        arrays[f"{split}_features"] = random.normal(size=(12, 8)).astype(np.float32)
        arrays[f"{split}_pids"] = np.arange(12) % 4
        arrays[f"{split}_names"] = np.array([f"{split}/\x1b[31m{row}.jpg" for row in range(12)])
    np.savez(tmp_path / "x.npz", **arrays)
    return tmp_path


def test_a_tilde_in_the_environment_is_the_home_folder(embeddings):
    home = embeddings / "home"
    home.mkdir()
    environment = {"NFORMER_RUN": "~/runs/x", "HOME": str(home)}
    done = nformer("import-embeddings", "x.npz", folder=embeddings, **environment)
    assert done.returncode == 0, done.stderr
    assert (home / "runs/x/embeddings.h5").is_file() and not (embeddings / "~").exists()


def test_an_encoding_without_our_characters_gets_escapes(embeddings):
    nformer("import-embeddings", "x.npz", "--run", "run", folder=embeddings)
    done = nformer(
        *("evaluate", "--run", "run", "--refine", "none", "--no-report"),
        folder=embeddings,
        PYTHONIOENCODING="ascii",
    )
    assert done.returncode == 0, done.stderr
    assert b"baseline" in done.stdout and done.stdout.isascii()


def test_markup_in_a_folders_name_is_text(embeddings):
    done = nformer("import-embeddings", "x.npz", "--run", "x[/]", folder=embeddings)
    assert done.returncode == 0, done.stderr
    done = nformer("info", "--run", "x[/]", folder=embeddings)
    assert done.returncode == 0 and b"x[/]" in done.stdout


def test_control_characters_of_names_do_not_reach_the_terminal(embeddings):
    nformer("import-embeddings", "x.npz", "--run", "run", folder=embeddings)
    assert nformer("index", "--run", "run", folder=embeddings).returncode == 0
    done = nformer("search", "x.npz", "--run", "run", "--top", "2", folder=embeddings)
    assert done.returncode == 0, done.stderr
    assert b"\x1b" not in done.stdout and b"\\x1b[31m" in done.stdout
    as_json = nformer("search", "x.npz", "--run", "run", "--json", folder=embeddings)
    assert b"\x1b" not in as_json.stdout and "\x1b" in json.dumps(
        json.loads(as_json.stdout), ensure_ascii=False
    ).replace("\\u001b", "\x1b")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("import-embeddings", "none.npz"), b"none.npz is not there"),
        (("import-embeddings", "x" * 300 + ".npz"), b"File name too long"),
        (("info", "--run", "y" * 300), b"File name too long"),
        (("import-embeddings", "x.npz", "--run", "x.npz"), b"is a file; a run is a folder"),
        (("import-embeddings", "loop/x.npz"), b"loop/x.npz"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(embeddings, arguments, said):
    (embeddings / "loop").symlink_to(embeddings / "loop")
    done = nformer(*arguments, folder=embeddings)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr and b"Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_pytorchs_advice_to_run_code_is_not_shown(tmp_path):
    import torch

    torch.save({"query_features": torch.zeros(2, 2), "query_pids": Path("x")}, tmp_path / "x.pt")
    done = nformer("import-embeddings", "x.pt", folder=tmp_path)
    assert done.returncode == 2 and b"has query but no query_pids" in done.stderr
    assert b"weights_only" not in done.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train-nformer --set lr=" + "9" * 5000, "lr: '999"),
        ("train-nformer --set lr=" + "[" * 5000, "lr: '[[["),
        ("train-nformer --set lr=nan", "lr: nan is out of range; at least 0"),
        ("train-nformer --set weight_decay=-1", "weight_decay: -1.0 is out of range"),
        ("train-nformer --batch 1", "batch: 1 is out of range; from 2 to 1000000"),
        ("train-nformer --set eval_every=-1", "eval_every: -1 is out of range"),
        ("train-backbone folder --set dim=0", "dim: 0 is out of range"),
        ("train-backbone folder --set label_smoothing=2", "label_smoothing: 2.0 is out of range"),
        ("pack folder --height 100000", "height: 100000 is out of range; from 8 to 8192"),
        ("settings nothing", "nothing is no stage with settings"),
        ("evaluate --search nosuch", "search: 'nosuch' is none of 'auto', 'exact', 'numpy'"),
        ("evaluate --set search=nosuch", "search: 'nosuch' is none of 'auto'"),
        ("evaluate --nosuch", "No such option: --nosuch"),
        ("nosuch", "No such command 'nosuch'; see nformer --help"),
        ("search", "see nformer search --help"),
        ("compare", "Missing argument"),
        ("evaluate --k1 three", "Invalid value for '--k1'"),
        ("evaluate extra", "see nformer evaluate --help"),
        ("train-nformer --batch", "--batch"),
        ("index add", "Missing argument"),
        ("info --run 'a\nb'", "a\\nb is not there"),
    ],
)
def test_misuse_is_refused_in_a_line(line, said):
    assert said in refused(line)


def test_settings_are_listed_with_what_they_take():
    listed = json.loads(nformer_here("settings nformer --json").out)["nformer"]
    recipes = {"paper": 50, "released": 215}
    assert listed["eval_every"] == {
        "default": 25,
        "values": "from 0 to 1000000",
        "recipes": recipes,
    }
    assert "backbone" in nformer_here("settings").out
