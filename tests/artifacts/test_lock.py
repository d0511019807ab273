"""One writer a run: whose name the others are told; a killed writer's lock is free."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from pipelines.artifacts.lock import LOCK, alone_in, claim
from pipelines.errors import BadInput

HOLD = """
import sys
from pathlib import Path
from pipelines.artifacts.lock import alone_in, claim
def work():
    claim(Path(sys.argv[1]))
    print("held", flush=True)
    sys.stdin.readline()
alone_in([Path(sys.argv[1])], work, purpose="index add a", warn=print)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def written(folder, recorder, *, patience=0.0, below="."):
    """Claim a folder in a turn of its own; return how often the work began."""
    begun = []

    def work():
        begun.append(1)
        assert claim(folder / below, patience=patience)
        return len(begun)

    return alone_in([folder], work, purpose="x", warn=recorder.warn)


def test_another_writer_is_named(tmp_path, holder, recorder):
    with pytest.raises(
        BadInput,
        match=rf"{tmp_path} is being written by process {holder.pid} on .*, index add a, since "
        r"\d{4}-.*, still after 0 seconds; wait for it to finish, or end it",
    ):
        written(tmp_path, recorder)


def test_after_a_wait_the_work_begins_again(tmp_path, holder, recorder):
    threading.Timer(0.2, holder.kill).start()
    assert written(tmp_path, recorder, patience=60) == 2
    assert recorder.warnings[0].startswith(f"waiting for process {holder.pid} on ")


def test_a_killed_writers_lock_is_free_and_said(tmp_path, holder, recorder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert written(tmp_path, recorder) == 1
    assert len(recorder.warnings) == 1
    assert f"ended without finishing (process {holder.pid} on " in recorder.warnings[0]
    assert written(tmp_path, recorder) == 1
    assert len(recorder.warnings) == 1  # one who finished leaves nothing
    assert list(tmp_path.iterdir()) == []


def test_work_within_work_and_folders_below_take_one_lock(tmp_path, recorder):
    def outer():
        assert claim(tmp_path)
        return written(tmp_path, recorder) + written(tmp_path, recorder, below="a/b")

    assert alone_in([tmp_path], outer, purpose="x", warn=recorder.warn) == 2
    assert not claim(tmp_path)  # no turn any more


@pytest.mark.parametrize(
    "content",
    [b"\xff\x00", b"[1]", b'{"pid": 1}', b"[" * 9000, b'{"pid": ' + b"9" * 5000 + b"}"],
)
def test_odd_content_of_a_lock_is_nobody(tmp_path, recorder, content):
    (tmp_path / LOCK).write_bytes(content)
    assert written(tmp_path, recorder) == 1
    assert recorder.warnings == []


@pytest.mark.parametrize("kind", ["folder", "fifo", "dangling", "loop"])
def test_what_is_no_lock_is_refused(tmp_path, recorder, kind):
    lock = tmp_path / LOCK
    if kind == "folder":
        lock.mkdir()
    elif kind == "fifo":
        os.mkfifo(lock)
    else:
        lock.symlink_to("nowhere" if kind == "dangling" else LOCK)
    with pytest.raises(BadInput, match=r"\.lock"):
        written(tmp_path, recorder)


def test_who_holds_it_is_written_in_it(tmp_path, holder):
    who = json.loads((tmp_path / LOCK).read_text())
    assert (who["pid"], who["purpose"]) == (holder.pid, "index add a")
