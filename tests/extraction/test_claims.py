"""Parts of a shared extraction: each is one living process's, whoever dies."""

import json
import os
import socket
import subprocess
import sys

import pytest

from pipelines.extraction.claims import LEASE, MUTEX, Claims, Gone, exclusive, holder, holders


def ended_process():
    """The number of a process that lives no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def claim_of(folder, name, *, host, pid, silent=0.0):
    path = folder / f"{name}.claim"
    path.write_text(json.dumps({"host": host, "pid": pid}))
    then = path.stat().st_mtime - silent
    os.utime(path, (then, then))
    return path


def test_a_part_is_one_claims_until_it_is_given_back(tmp_path):
    with Claims(tmp_path) as first, Claims(tmp_path) as second:
        assert first.take("a") and first.take("a")
        assert not second.take("a")
        assert second.take("b")
        first.release("a")
        assert second.take("a")
    assert [path.name for path in tmp_path.iterdir()] == [MUTEX]


@pytest.mark.parametrize(
    "host, alive, silent, held",
    [
        ("here", True, 0.0, True),
        ("here", False, 0.0, False),  # it has ended
        ("elsewhere", False, LEASE - 30, True),  # not to be seen from here
        ("elsewhere", False, LEASE + 30, False),
        ("here", True, LEASE + 30, False),  # stopped, or another with its number
    ],
)
def test_whose_a_claim_is(tmp_path, host, alive, silent, held):
    name = socket.gethostname() if host == "here" else "elsewhere"
    pid = os.getpid() if alive else ended_process()
    path = claim_of(tmp_path, "a", host=name, pid=pid, silent=silent)
    with exclusive(tmp_path) as now:
        assert holder(path, now) == (f"process {pid} on {name}" if held else "")
        assert holders(tmp_path, now) == ([f"process {pid} on {name}"] if held else [])
    with Claims(tmp_path) as claims:
        assert claims.take("a") != held


def test_a_claim_that_cannot_be_read_is_nobodys(tmp_path):
    (tmp_path / "a.claim").write_bytes(b"\xff{")
    with Claims(tmp_path) as claims:
        assert claims.take("a")


def test_a_folder_that_was_removed_is_told(tmp_path):
    with Claims(tmp_path / "not there") as claims, pytest.raises(Gone):
        claims.take("a")
