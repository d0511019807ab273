"""A Ray cluster: a killed worker or driver changes nothing, and what is not done is refused."""

import os
import secrets
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import nformer, refused
from helpers.ending import MARK
from helpers.in_parts import GALLERY, MODELS, QUERY

from pipelines.artifacts.embeddings import load_embeddings, save_embeddings
from pipelines.artifacts.manifest import Manifest
from pipelines.artifacts.nformer import save_nformer
from pipelines.artifacts.run import Run
from pipelines.distributed.asked import require_done_in_parts, require_reachable
from pipelines.distributed.workers import ThisProcess
from pipelines.errors import BadInput
from pipelines.gallery.refinement import refine

ROOT = Path(__file__).parents[2]
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
CLOSE = 6e-6
MODEL = "gate, NFormer"


def run_of(folder, *, model=MODEL, **facts):
    run = Run(folder)
    with run.writing(Manifest("embeddings.h5", "import-embeddings", {}, {})) as (path, _):
        save_embeddings(path, query=QUERY, gallery=GALLERY)
    inputs = {"embeddings.h5": run.digest("embeddings.h5")}
    with run.writing(Manifest("nformer.pt", "train-nformer", {}, inputs)) as (path, written):
        written.update(facts)
        save_nformer(path, MODELS[model]())
    return run


@contextmanager
def this_process():
    """Stand for a cluster, which takes ten seconds to start."""
    yield ThisProcess()


def require_ray():
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install 'nformer[cluster]'")


def command(last, line, **environment):
    """Run the command in another process; `last` is the step that it ends after, if any."""
    known = {"PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        [sys.executable, "-m", "helpers.ending", last, *line.split()],
        env=os.environ | known,
        capture_output=True,
        text=True,
    )


def require_refined(run):
    """Raise AssertionError unless refined.h5 is what one process makes."""
    model = MODELS[MODEL]()
    model.closed_form.assume = "same"
    expected = refine(model, QUERY, GALLERY)
    for split, wanted in zip(("query", "gallery"), expected, strict=True):
        found = load_embeddings(run.path("refined.h5"), split)
        assert np.abs(found.features - wanted.features).max() < CLOSE
        assert found.pids.tolist() == wanted.pids.tolist()


@pytest.mark.slow
def test_a_killed_worker_costs_a_task_and_a_killed_command_what_it_had_begun(tmp_path, monkeypatch):
    require_ray()
    run, mark = run_of(tmp_path / "run"), tmp_path / "worker"
    line = f"refine --run {run.folder} --cluster local:2 --shards 4 --set assume=same"
    done = command("sum-1", line, **{MARK: str(mark)})
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert mark.exists()
    kept = files_of(run)
    names = {path.parent.name for path in kept}
    assert {"gallery", "sum-0", "sum-1"} <= names and "gate" not in names
    seen, clear = {}, Run.clear_scratch

    def look_first(self, name):
        seen.update(files_of(run))
        clear(self, name)

    monkeypatch.setattr(Run, "clear_scratch", look_first)
    monkeypatch.setattr("pipelines.distributed.workers.cluster_of", lambda asked: this_process())
    again = nformer(line)
    assert again.code == 0, again.err
    assert kept.items() <= seen.items() and len(seen) > len(kept)
    assert not list(run.folder.rglob("*.npy"))
    require_refined(run)
    assert "up to date" in nformer(f"refine --run {run.folder} --set assume=same").err


def files_of(run):
    """Return the finished files of a refinement in four parts, with their times."""
    return {path: path.stat().st_mtime_ns for path in run.folder.rglob("in-4/*/*.npy")}


def node(*options, **environment):
    """Start a node of a Ray cluster, and wait until it runs."""
    line = "-m ray.scripts.scripts start --block --num-cpus=1 --object-store-memory=80000000"
    started = subprocess.Popen(
        [sys.executable, *line.split(), "--disable-usage-stats", *options],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert started.stdout is not None
    said = []
    for text in started.stdout:
        said.append(text)
        if "Ray runtime started" in text:
            return started
    raise AssertionError("".join(said))


@pytest.mark.slow
def test_a_killed_node_costs_its_tasks(tmp_path):
    """Two nodes on loopback, which know each other by a token, and are stopped by their numbers."""
    require_ray()
    run, mark = run_of(tmp_path / "run"), tmp_path / "node"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    known = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    common = known | {"PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1"}
    nodes = [node("--head", "--include-dashboard=false", f"--port={port}", **common)]
    try:
        nodes.append(node(f"--address=127.0.0.1:{port}", **common, **{MARK: str(mark)}))
        line = f"refine --run {run.folder} --cluster 127.0.0.1:{port} --shards 4"
        done = command("", f"{line} --set assume=same", **known)
    finally:
        for one in nodes:
            one.terminate()
        for one in nodes:
            one.communicate()
    assert done.returncode == 0, done.stderr
    assert mark.exists()
    require_refined(run)


LISTENERS = """
import os
from pathlib import Path
from pipelines.distributed.parts import path_of
from pipelines.distributed.workers import cluster_of

with cluster_of("local:1") as workers:
    assert list(workers.run(path_of, [{"folder": Path(), "array": "rows", "part": 0}]))
    own = {os.readlink(link) for one in family(os.getpid()) for link in links(one)}
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
                print(fields[1].partition(":")[0])
"""
FAMILY = """
def family(process):
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    children = [int(one) for task in tasks for one in task.read_text().split()]
    return [process, *(each for child in children for each in family(child))]


def links(process):
    return [str(one) for one in Path(f"/proc/{process}/fd").iterdir() if one.is_symlink()]
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc says who listens")
def test_a_local_cluster_listens_on_loopback_only():
    require_ray()
    known = {**os.environ, "PYTHONPATH": PATHS}
    text = f"from pathlib import Path\n{FAMILY}{LISTENERS}"
    done = subprocess.run(
        [sys.executable, "-c", text], env=known, capture_output=True, text=True, check=False
    )
    found = set(done.stdout.split())
    assert found, done.stderr
    assert found <= {"0100007F", "0000000000000000FFFF00000100007F"}, found


WRONG = {
    "--cluster local:0": "local:NUMBER starts so many workers on this machine, HOST:PORT joins",
    "--cluster here": "local:NUMBER starts so many workers on this machine, HOST:PORT joins a",
    "--cluster local:2 --protocol paper": "protocols isolated and joint, not by paper",
    "--cluster local:2 --set search=hnsw": "searches by auto, exact, numpy, ivf, not by hnsw",
    "--shards 4": "--shards and --dry-run are of --cluster",
}


@pytest.mark.parametrize("options", WRONG)
def test_what_is_not_done_is_refused(options, tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.distributed.asked.find_spec", lambda name: name)
    assert WRONG[options] in refused(f"refine --run {tmp_path} {options}")


def test_workers_have_no_gpu():
    with pytest.raises(BadInput, match="on the workers' CPUs, not on --device cuda"):
        require_done_in_parts(protocol="joint", search="auto", device="cuda")


def test_an_address_that_nothing_listens_at_is_refused_at_once():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BadInput, match=f"--cluster {address}: nothing answers there"):
            require_reachable(address)


def test_a_dry_run_says_what_it_will_take(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.distributed.asked.find_spec", lambda name: name)
    run = run_of(tmp_path / "run")
    done = nformer(f"refine --run {run.folder} --cluster local:3 --dry-run")
    assert done.code == 0 and "3 parts, 3 workers: about 0.00" in " ".join(done.out.split())
    assert not run.path("refined.h5").exists() and not (run.folder / ".unfinished").exists()


def test_without_ray_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.distributed.asked.find_spec", lambda name: None)
    assert "pip install 'nformer[cluster]'" in refused(f"refine --run {tmp_path} --cluster local:2")
