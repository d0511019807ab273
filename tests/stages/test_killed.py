"""Kill -9 at any moment: the next run of the same command ends with the same numbers."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.data.synthetic.dataset import write_synthetic
from pipelines.files import file_digest

ROOT = Path(__file__).parents[2]
KILLS = 3  # a stage
STAGES = {
    "train-backbone": (
        "market1501 --arch resnet18 --weights none --epochs 3 --batch 16 --height 64 --width 32 "
        "--workers 0",
        "backbone.pt",
    ),
    "extract": ("--batch 8 --workers 0", "embeddings.h5"),
    "train-nformer": ("--steps 60 --neighbours 5", "nformer.pt"),
    "evaluate": ("--rerank kr --json", "refined.h5"),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_synthetic(folder, seed=1, train_identities=8, test_identities=6, height=64, width=32)
    return folder


def command(stage: str, run: Path, images: Path) -> list[str]:
    where = ["--root", str(images)] if stage == "train-backbone" else []
    options = [*STAGES[stage][0].split(), "--run", str(run), "--device", "cpu", *where]
    return [sys.executable, "-m", "nformer_cli.main", stage, *options]


def finish(stage: str, run: Path, images: Path) -> str:
    done = subprocess.run(
        command(stage, run, images), capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def kill_after(seconds: float, stage: str, run: Path, images: Path) -> None:
    process = subprocess.Popen(
        command(stage, run, images),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        start_new_session=True,
    )
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)  # its decoding workers too
    process.wait()


@pytest.mark.slow
def test_killed_stages_end_with_the_same_numbers(images, tmp_path):
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    chance = random.Random(os.environ.get("NFORMER_KILL_SEED", "7"))
    figures = []
    for stage, (_, artifact) in STAGES.items():
        begun = time.monotonic()
        printed = finish(stage, calm, images)
        seconds = time.monotonic() - begun
        for _ in range(KILLS):
            kill_after(chance.uniform(0.3, 1.0) * seconds, stage, killed, images)
        again = finish(stage, killed, images)
        assert file_digest(calm / artifact) == file_digest(killed / artifact), stage
        if stage == "evaluate":
            figures = [json.loads(text)["results"] for text in (printed, again)]
    for one, other in zip(*figures, strict=True):
        for key in ("name", "mAP", "mINP", "rank1"):
            assert one[key] == other[key]
    assert not (killed / ".unfinished").exists()
