"""Disks that can only be read, links in a circle, folders where files belong, broken libraries."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.processes import run_apart

from pipelines import Run, evaluate, import_embeddings
from pipelines.config import EvaluateConfig

from .disks import may_mount

ROOT = Path(__file__).parents[2]
PLAIN = "--refine none --device cpu --no-report"
LOADED = "import torch, pipelines.stages.search_images, pipelines.stages.export_embeddings"


def written(folder, split, pids):
    features = np.random.default_rng(len(split)).normal(size=(len(pids), 8)).astype(np.float32)
    return {f"{split}_features": features, f"{split}_pids": pids}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A file of embeddings and a run that was evaluated and indexed."""
    folder = tmp_path_factory.mktemp("places")
    pids = np.arange(12) % 4
    arrays = written(folder, "query", pids) | written(folder, "gallery", pids)
    np.savez(folder / "x.npz", **arrays)
    import_embeddings(Run(folder / "run"), [folder / "x.npz"])
    evaluate(Run(folder / "run"), config=EvaluateConfig(refine=("none",)), device="cpu")
    run_apart([["index", "--run", "run"]], folder=folder)
    return folder


@pytest.fixture
def place(made, tmp_path):
    return shutil.copytree(made, tmp_path / "here")


def ends(lines, folder, first=LOADED):
    """Return the exit code and the last line of each command, which leaves no temporary file."""
    found = run_apart([line.split() for line in lines], folder=folder, first=first)
    assert not any("Traceback" in one.err for one in found), found
    assert not list(folder.rglob(".*.tmp"))
    return [(one.code, (one.err.strip().splitlines() or [""])[-1]) for one in found]


READABLE = (
    "import-embeddings x.npz --run run",
    f"evaluate --run run {PLAIN}",
    f"evaluate --run run {PLAIN} --json",
    "info --run run",
    "index --run run",
    "search x.npz --run run --top 1",
    "compare run",
    "export-embeddings out.npz --run run",
)
WRITING = (
    "import-embeddings x.npz --run run --overwrite",
    f"evaluate --run run --rerank kr {PLAIN}",
    "report --run run",
    "index add x.npz --run run",
    "index remove gallery/0000000 --run run",
    "subsample --run run --images-per-identity 1",
    "import-embeddings x.npz --run run/below",
    "search x.npz --run run --html run/found.html",
    "export-embeddings run/out.npz --run run",
)


def test_a_run_on_a_disk_that_can_only_be_read(place):
    if not may_mount():
        pytest.skip("no disk may be mounted here")
    first = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\nfrom tests.reliability.disks import forbid_writing\n"
        f"forbid_writing(Path({str(place / 'run')!r}))\n{LOADED}"
    )
    for line, (code, said) in zip(READABLE, ends(READABLE, place, first), strict=True):
        assert code == 0, (line, said)
    for line, (code, said) in zip(WRITING, ends(WRITING, place, first), strict=True):
        assert code == 2 and "Read-only file system" in said and ".tmp" not in said, (line, said)


def test_a_run_whose_files_may_not_be_read(place):
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    (place / "run/embeddings.h5").chmod(0)
    for code, said in ends([f"evaluate --run run --rerank kr {PLAIN}", "info --run run"], place):
        assert code == 2 and "embeddings.h5" in said and "Permission denied" in said


def test_links_that_lead_nowhere_or_in_a_circle(place):
    (place / "circle").symlink_to("circle")
    (place / "nowhere.npz").symlink_to("none")
    (place / "pipe").symlink_to("pipe.fifo")
    os.mkfifo(place / "pipe.fifo")
    refused = {
        "import-embeddings x.npz --run circle": "--run circle cannot be opened (Too many levels",
        "evaluate --run circle/deep": "--run circle/deep cannot be opened (Too many levels",
        "reproduce table1 --run circle": "--run circle cannot be opened",
        "import-embeddings nowhere.npz --run other": "nowhere.npz is a link that leads nowhere",
        "import-embeddings circle --run other": "circle cannot be opened (Too many levels",
        "info --run pipe": "--run pipe is a named pipe; a run is a folder",
        "pack folder --root circle --run other": "circle is not there",
        "search circle --run run": "circle is not there",
    }
    for (line, reason), (code, said) in zip(refused.items(), ends(refused, place), strict=True):
        assert code == 2 and reason in said, (line, said)


def test_folders_where_files_belong(place):
    for name in ("x.npz", "m.pt", "s.toml", "out.mat"):
        shutil.rmtree(place / name) if (place / name).is_dir() else None
        (place / name).unlink(missing_ok=True)
        (place / name).mkdir()
    for name in ("report.html", "metrics.json.json", ".lock"):
        (place / "run" / name).unlink(missing_ok=True)
        (place / "run" / name).mkdir()
    refused = {
        "import-embeddings x.npz --run other": "x.npz is a folder without .npy files",
        "evaluate --run run --model m.pt": "m.pt is a folder",
        "import-nformer m.pt --run run": "m.pt is a folder",
        "train-nformer --recipe s.toml --run run": "s.toml: no such recipe",
        "export-embeddings out.mat --run run --overwrite": "out.mat: Is a directory",
        "compare run": "metrics.json.json: Is a directory",
        f"evaluate --run run {PLAIN} --overwrite": ".lock: Is a directory",
    }
    for (line, reason), (code, said) in zip(refused.items(), ends(refused, place), strict=True):
        assert code == 2 and reason in said, (line, said)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("raise ImportError('libcudart.so.12: no such file')", "cannot be imported (libcudart"),
        ("raise OSError('libtorch.so: cannot open shared object file')", "cannot be loaded (libto"),
        ("import none_such", "none_such cannot be imported"),
    ],
)
def test_a_library_that_cannot_be_imported(place, error, said):
    (place / "broken/torch").mkdir(parents=True)
    (place / "broken/torch/__init__.py").write_text(error)
    done = subprocess.run(
        [sys.executable, "-m", "nformer_cli.main", "search", "x.npz", "--run", "run"],
        cwd=place,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{place / 'broken'}:{ROOT}"},
        check=False,
    )
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 2 and said in line and line.endswith("install nformer again with pip")


def test_output_to_a_full_disk_is_one_line(place):
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is not here")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "nformer_cli.main", "settings"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.strip() == "error: no space left on the disk for the output"
