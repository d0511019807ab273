"""nformer serve as a process: it answers, finishes what it has taken, and ends cleanly."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import refused
from helpers.serving import picture, pictures_run, png

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return pictures_run(tmp_path_factory.mktemp("served"), count=4)


def started(run, *options: str) -> tuple[subprocess.Popen, int]:
    """Start a server on a free port, and return its process and the port."""
    command = [sys.executable, "-m", "nformer_cli.main", "serve", "--run", str(run.folder)]
    process = subprocess.Popen(
        [*command, "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.fullmatch(r"serving http://127\.0\.0\.1:(\d+)/ \(Ctrl-C ends it\)\n", line)
    assert found, line + process.stderr.read()
    return process, int(found[1])


def searched(port: int, number: int) -> dict:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    kind = {"content-type": "image/png"}
    connection.request("POST", "/search?top=1", png(picture(number)), kind)
    answer = connection.getresponse()
    assert answer.status == 200
    return json.loads(answer.read())


def test_it_answers_and_ends_when_told_to_after_what_it_has_taken(run):
    process, port = started(run)
    assert searched(port, 2)["hits"][0]["name"] == "2.png"
    slow = socket.create_connection(("127.0.0.1", port))
    content = png(picture(3))
    slow.sendall(
        b"POST /search?top=1 HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/png\r\n"
        b"content-length: %d\r\n\r\n" % len(content) + content[:20]
    )
    time.sleep(0.3)  # it is being received
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None
    slow.sendall(content[20:])
    answer = b""
    while part := slow.recv(1 << 16):
        answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert json.loads(body)["hits"][0]["name"] == "3.png"
    assert process.wait(20) == 0
    assert process.stderr.read() == ""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def garbage(random) -> bytes:
    """Bytes that are no request, or nearly one."""
    ways = (
        random.bytes(int(random.integers(1, 3000))),
        b"GET " + b"/" * int(random.integers(1, 90_000)) + b" HTTP/1.1\r\n\r\n",
        b"POST /search HTTP/1.1\r\nhost: localhost\r\ncontent-length: -5\r\n\r\n",
        b"POST /search HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n\r\nshort",
        b"POST /search HTTP/1.1\r\nhost: a\r\nhost: localhost\r\n\r\n",
        b"POST /search HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /items/%ff%00 HTTP/1.1\r\nhost: localhost\r\ncookie: \xff=\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * int(random.integers(1, 9000)),
    )
    return ways[int(random.integers(len(ways)))]


def test_garbage_and_then_ctrl_c_end_it_cleanly(run):
    process, port = started(run)
    random = np.random.default_rng(0)
    for number in range(100):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(garbage(random))
        if number % 25 == 0:
            assert searched(port, 2)["hits"][0]["name"] == "2.png"
    searches = [threading.Thread(target=searched, args=(port, 1)) for _ in range(3)]
    for one in searches:
        one.start()
    for one in searches:
        one.join()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert process.stderr.read() == ""


def test_what_it_cannot_do_is_one_line(run, tmp_path, monkeypatch):
    folder = f"--run {run.folder}"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        line = refused(f"serve {folder} --port {other.getsockname()[1]}")
    assert line.endswith("address already in use; name another with --port")
    assert "give a --token that they have to show" in refused(f"serve {folder} --host 0.0.0.0")
    assert "index.h5 is not there; make it with" in refused(f"serve --run {tmp_path}")
    monkeypatch.setattr("pipelines.stages.early.SERVER", ("no_such_package", "fastapi"))
    line = refused(f"serve {folder}")
    assert line == "error: serve needs no_such_package: python -m pip install 'nformer[serve]'"
