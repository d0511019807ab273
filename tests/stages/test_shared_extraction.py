"""Several processes share an extraction: each image once, the same bytes, whoever is killed."""

import hashlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers.layouts import write_image

from pipelines import Run, train_backbone
from pipelines.config import BackboneConfig

IMAGES, CHUNK = 48, 4
# An extraction in chunks of 4 images that writes down every image that it embeds.
WORKER = """
import os, sys, time
import pipelines.extraction.chunks as chunks
from pipelines.extraction import claims
chunks.CHUNK, pause = int(sys.argv[2]), float(sys.argv[3])
embed_rows = chunks.embed_rows
def noting(network, loader, *, rows, size):
    time.sleep(pause)
    yield from embed_rows(network, loader, rows=rows, size=size)
    with open(os.path.join(sys.argv[1], "..", "embedded"), "a") as file:
        for row in rows:
            file.write(loader.source.names[row] + "\\n")
chunks.embed_rows = noting
from pipelines import Run, extract
from pipelines.config import ExtractConfig
again = len(sys.argv) > 4
extract(Run(sys.argv[1]), config=ExtractConfig(workers=0, amp="off"), device="cpu", overwrite=again)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a data set and a trained backbone, to be copied."""
    home = tmp_path_factory.mktemp("shared")
    for number in range(IMAGES):
        person = f"{number // 8 + 1:04d}"
        split = "bounding_box_train" if number < 24 else "bounding_box_test"
        name = f"{person}_c{number % 2 + 1}s1_{number:06d}_00.jpg"
        write_image(home / "market" / split / name, seed=number)
        if number >= 24 and number % 8 == 0:
            query = name.replace("_00.jpg", "_01.jpg")
            write_image(home / "market" / "query" / query, seed=number + 100)
    config = BackboneConfig(
        arch="shufflenet_v2_x0_5", weights="none", height=32, width=16, batch=8, instances=2,
        epochs=1, dim=8, amp="off", workers=0,
    )  # fmt: skip
    train_backbone(
        Run(home / "run"), "market1501", root=home / "market", config=config, device="cpu"
    )
    return home


@pytest.fixture
def home(trained, tmp_path):
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path


def worker(home, *, pause=0.0, overwrite=False):
    command = [sys.executable, "-c", WORKER, str(home / "run"), str(CHUNK), str(pause)]
    command += ["again"] * overwrite
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def digest(home):
    return hashlib.sha256((home / "run" / "embeddings.h5").read_bytes()).hexdigest()


def embedded(home):
    return sorted((home / "embedded").read_text().splitlines())


def test_three_processes_embed_each_image_once_and_write_the_same_bytes(home, trained, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copytree(trained / "run", alone / "run")
    first = worker(alone)
    assert first.wait(120) == 0, first.communicate()[1]
    several = [worker(home, pause=0.05) for _ in range(3)]
    for process in several:
        assert process.wait(120) == 0, process.communicate()[1]
    assert digest(home) == digest(alone)
    assert embedded(home) == embedded(alone)
    assert len(set(embedded(home))) == len(embedded(home)) == IMAGES + 3
    assert not (home / "run" / ".unfinished").exists()
    assert np.array_equal(
        sorted(path.name for path in (home / "run").iterdir()),
        sorted(path.name for path in (alone / "run").iterdir()),
    )


@pytest.mark.slow
def test_a_killed_process_costs_the_chunk_that_it_was_at(home):
    first, second = worker(home, pause=0.4), worker(home, pause=0.4)
    deadline = time.monotonic() + 90
    while not (home / "embedded").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    assert second.wait(120) == 0, second.communicate()[1]
    assert len(set(embedded(home))) == IMAGES + 3
    assert len(embedded(home)) <= IMAGES + 3 + CHUNK  # none of the finished chunks is made again


def test_other_settings_at_the_same_time_are_refused(home):
    first = worker(home, pause=30.0)
    claims = home / "run" / ".unfinished" / "embeddings.h5"
    deadline = time.monotonic() + 60
    while not list(claims.glob("*.claim")) and time.monotonic() < deadline:
        time.sleep(0.02)
    other = subprocess.run(
        [
            *(sys.executable, "-m", "nformer_cli.main", "extract", "--run", str(home / "run")),
            *("--device", "cpu", "--set", "flip=true"),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    first.kill()
    assert other.returncode == 2
    assert f"process {first.pid} on" in other.stderr and "other settings" in other.stderr


def test_with_overwrite_too_each_image_is_embedded_once_more(home):
    assert worker(home).wait(120) == 0
    before = len(embedded(home))
    several = [worker(home, pause=0.3, overwrite=True) for _ in range(2)]
    for process in several:
        assert process.wait(120) == 0, process.communicate()[1]
    assert len(embedded(home)) == 2 * before
