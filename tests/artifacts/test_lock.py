"""The lock: one holder, whose name the others are told; a killed holder's lock is free."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from pipelines.artifacts.lock import only_writer
from pipelines.errors import BadInput

HOLD = """
import sys
from pathlib import Path
from pipelines.artifacts.lock import only_writer
with only_writer(Path(sys.argv[1]), purpose="index add a", warn=print):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "index.h5")],
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


def test_another_holder_is_named(tmp_path, holder, recorder):
    with (
        pytest.raises(
            BadInput,
            match=rf"index\.h5\.lock is held by process {holder.pid} on .*, index add a, since "
            r"\d{4}-.* after 0 seconds; wait for it to finish, or end it",
        ),
        only_writer(tmp_path / "index.h5", purpose="x", patience=0, warn=recorder.warn),
    ):
        pass


def test_a_waiting_writer_goes_on_when_the_other_has_ended(tmp_path, holder, recorder):
    threading.Timer(0.2, holder.kill).start()
    with only_writer(tmp_path / "index.h5", purpose="x", warn=recorder.warn):
        pass
    assert recorder.warnings[0].startswith(f"waiting for process {holder.pid} on ")


def test_a_killed_holders_lock_is_stale_and_said(tmp_path, holder, recorder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with only_writer(tmp_path / "index.h5", purpose="x", patience=0, warn=recorder.warn):
        pass
    assert len(recorder.warnings) == 1
    assert f"ended without finishing (process {holder.pid} on " in recorder.warnings[0]
    with only_writer(tmp_path / "index.h5", purpose="y", patience=0, warn=recorder.warn):
        pass
    assert len(recorder.warnings) == 1  # one who finished leaves nothing
