"""Batches shared by processes make the same updates as one process, and errors end all of them."""

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import sharing

from pipelines import BadInput, Run
from pipelines.artifacts.checkpoints import load_checkpoint
from pipelines.data.synthetic.dataset import write_synthetic
from pipelines.processes import EndedElsewhere, Processes

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="processes are found in /proc"
)


def started(*command, options=(), **further):
    """Start a Python program in two processes."""
    many = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *options]
    paths = [str(ROOT), str(ROOT / "tests")]
    return subprocess.Popen(
        [sys.executable, *many, *map(str, command)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **further,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What each of two processes has after training, by kind of training."""
    folder = tmp_path_factory.mktemp("shared")
    process = started(ROOT / "tests/helpers/sharing.py", folder)
    assert process.wait() == 0, process.communicate()[1]
    return {path.stem: torch.load(path, weights_only=True) for path in folder.iterdir()}


def joined(state):
    """Return all weights that move slowly as one row: the centers, by their own rate, are apart."""
    kept = {name: one for name, one in state.items() if name not in ("centers", "losses")}
    return torch.cat([one.double().ravel() for one in kept.values()])


@pytest.mark.parametrize("kind", ["all", "process", "left_out"])
def test_both_processes_have_the_same_bits(trained, kind):
    one, other = trained[f"{kind}0"], trained[f"{kind}1"]
    for name in one:
        assert torch.equal(torch.as_tensor(one[name]), torch.as_tensor(other[name])), name


@pytest.mark.parametrize(("kind", "left_out"), [("all", ()), ("left_out", (0, 1, 2, 8))])
def test_the_weights_are_those_of_one_process(trained, kind, left_out):
    alone = sharing.state_of(sharing.train(sharing.config_of(), Processes(), left_out=left_out))
    still = sharing.config_of(lr=0.0, center_lr=0.0)
    start = joined(sharing.state_of(sharing.train(still, Processes())))
    ours, theirs = joined(trained[f"{kind}0"]), joined(alone)
    change = float((theirs - start).norm())
    assert change > 1e-3
    assert float((ours - theirs).norm()) < 1e-6 * change
    for name in ("centers", "losses"):
        torch.testing.assert_close(trained[f"{kind}0"][name], alone[name], rtol=1e-6, atol=1e-9)


def test_a_triplet_over_a_process_sees_fewer_others_and_is_lower(trained):
    assert trained["process0"]["losses"][0] < trained["all0"]["losses"][0] - 1e-3


def test_the_hardest_of_all_images_are_another_processs(trained):
    """By hand, of 0 and 1 on one process, 1.5 and 5 on the other."""
    # farthest own, nearest other: (1, 1.5), (1, 0.5), (3.5, 0.5), (3.5, 4)
    expected = (0 + 0.8 + 3.3 + 0) / 4
    # of 0.8 = (b - a) - (c - b) + 0.3 and 3.3 = (d - c) - (c - b) + 0.3
    for one, slopes in (("triplet0", [-1, 2 + 1]), ("triplet1", [-1 - 2, 1])):
        assert trained[one]["loss"] == pytest.approx(expected, abs=1e-5)
        found = trained[one]["gradient"].ravel() * 4
        torch.testing.assert_close(found, torch.tensor(slopes).float(), atol=1e-4, rtol=0)


def test_a_batch_of_fewer_identities_than_processes_is_refused():
    with pytest.raises(BadInput, match="3 identities, fewer than the 4 processes; use --batch 16"):
        sharing.train(sharing.config_of(), Processes(0, 4))


def test_parts_are_as_large_as_the_others_or_one_more():
    parts = [list(range(7))[Processes(rank, 3).part(7)] for rank in range(3)]
    assert parts == [[0, 1], [2, 3], [4, 5, 6]]


# The command


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_synthetic(
        tmp_path_factory.mktemp("data"), train_identities=6, test_identities=2, height=32, width=16
    )


def training(data, run, *settings, epochs=2, options=()):
    line = (
        f"-m nformer -- train-backbone synthetic --root {data} --run {run} --weights none "
        f"--arch shufflenet_v2_x0_5 --height 32 --width 16 --epochs {epochs} --batch 8 "
        "--set instances=4"
    )
    return started(*line.split(), *settings, options=options, cwd=ROOT)


def weights(run):
    return load_checkpoint(run / "backbone.pt")[0]


def children(pid):
    """Return the processes that a process has started, by their rank."""
    found = {}
    for path in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        environment = Path(f"/proc/{path}/environ").read_bytes().split(b"\0")
        ranks = [one for one in environment if one.startswith(b"RANK=")]
        found.update({int(rank[5:]): int(path) for rank in ranks})
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    """What two processes train that nobody interrupts: the weights, and what they say."""
    run = tmp_path_factory.mktemp("whole")
    process = training(data, run, epochs=4)
    _, err = process.communicate()
    assert process.returncode == 0, err
    return weights(run), err


def killed(process, run):
    """Kill the second process of a training once its first epoch is kept."""
    while not list(run.rglob("state*")) and process.poll() is None:
        time.sleep(0.02)
    os.kill(children(process.pid)[1], signal.SIGKILL)
    assert not (run / "backbone.pt").exists()


def ended(process):
    """Return what a training says until its end."""
    try:
        return process.communicate(timeout=60)[1]
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends its processes
        raise


def test_the_first_process_tells(whole):
    _, err = whole
    assert "2 processes share each batch of 8 images" in err
    assert err.count("backbone.pt; next: nformer extract") == 1


@needs_proc
@pytest.mark.parametrize("options", [(), ("--max-restarts=1",)], ids=["again", "restarted"])
def test_a_killed_training_goes_on_to_the_weights_of_one_that_was_not(
    tmp_path, data, whole, options
):
    process = training(data, tmp_path, epochs=4, options=options)
    killed(process, tmp_path)
    err = ended(process)
    if not options:
        assert process.returncode != 0
        process = training(data, tmp_path, epochs=4)
        err = ended(process)
    assert process.returncode == 0, err
    assert "going on after epoch" in err
    found = weights(tmp_path)
    assert found.keys() == whole[0].keys()
    assert all(torch.equal(value, whole[0][name]) for name, value in found.items())


def test_another_writer_is_waited_for_before_the_processes_meet(tmp_path, data, monkeypatch):
    """What waited starts again, which it could not do among processes that have met."""
    names = {"RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)

    def met(device):
        assert (tmp_path / "run" / ".lock").exists()
        raise EndedElsewhere

    stage = importlib.import_module("pipelines.stages.train_backbone")
    monkeypatch.setattr(stage, "join", met)
    with pytest.raises(EndedElsewhere):
        stage.train_backbone(Run(tmp_path / "run"), "synthetic", root=data, device="cpu")


def test_a_bad_image_of_one_process_ends_all_with_its_message(tmp_path, data):
    broken = tmp_path / "broken"
    subprocess.run(["cp", "-r", str(data), str(broken)], check=True)
    name = sorted((broken / "bounding_box_train").iterdir())[0]
    name.write_bytes(b"no picture")
    begun = time.monotonic()
    process = training(broken, tmp_path / "run")
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - begun < 60
    assert process.returncode != 0
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and name.name in errors[0]
    assert "Traceback" not in err.partition("error:")[0]


def test_a_loss_that_is_not_finite_is_said_once(tmp_path, data):
    process = training(data, tmp_path / "run", "--set", "lr=1e30", "--set", "warmup_epochs=0")
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert err.count("training has diverged") == 1


def test_other_commands_are_the_first_processs_work(tmp_path):
    process = started("-m", "nformer", "--", "info", "--run", tmp_path / "nothing", cwd=ROOT)
    _, err = process.communicate(timeout=60)
    assert err.count("error:") == 1
