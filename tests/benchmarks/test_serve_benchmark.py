"""The benchmark of the server asks as many clients do, and counts what is refused."""

import asyncio
import io
import json

import pytest
from PIL import Image

from pipelines.benchmarks import serve


class Answers:
    """A server of one line: every second search is refused."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    async def __call__(self, reader, writer) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.partition(b"content-length: ")[2].split()[0])
                self.seen.append(await reader.readexactly(length))
                status = b"200 OK" if len(self.seen) % 2 else b"429 Too Many"
                body = json.dumps({"hits": len(self.seen)}).encode()
                head = b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
                writer.write(head + body)
        except asyncio.IncompleteReadError:
            writer.close()


def test_clients_send_all_contents_and_note_what_is_refused():
    async def ask():
        answers = Answers()
        async with await asyncio.start_server(answers, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            found = await serve._client(port, [b"a", b"bb", b"ccc"], kind="image/jpeg")
            shared = await serve.asked(port, [b"x"] * 4, clients=2)
        return answers.seen, found, shared

    seen, found, shared = asyncio.run(ask())
    assert seen[:3] == [b"a", b"bb", b"ccc"]
    assert [answer for _, answer in found] == [{"hits": 1}, None, {"hits": 3}]
    assert len(seen) == 7
    assert len(shared) == 4
    assert all(seconds >= 0 for seconds in shared)


def test_pictures_differ_and_are_the_same_each_time():
    first, second = serve.pictures(2)
    assert first != second
    assert serve.pictures(1, first=1) == [second]
    assert Image.open(io.BytesIO(first)).size == (64, 128)


def test_percentiles_are_told_in_milliseconds():
    assert serve.ms([0.010, 0.020, 0.030], 50) == "20 ms"
    assert serve.ms([0.0104, 0.0104], 95) == "10 ms"


def test_memory_is_that_of_the_process():
    import os

    if not serve.resident(os.getpid()):
        pytest.skip("this system does not tell a process's memory")
    assert 10 < serve.resident(os.getpid()) < 100_000
    assert serve.resident(2**22 + 1) == 0
